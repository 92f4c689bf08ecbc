/** One PUT to a storage node, by XMLHttpRequest: fetch does not tell how far a body has got. */
import type { ErrorCode } from '../../common/errors.ts'
import { UploadError } from './error.ts'

export interface PutRequest {
  readonly url: string
  readonly body: Blob
  readonly headers: Readonly<Record<string, string>>
  /** Bytes of the file, which the node may have to read again before it answers. */
  readonly total: number
  readonly onProgress: (sent: number) => void
  readonly signal: AbortSignal | undefined
}

/** The node has the whole file, or so many bytes of it. */
export type PutReply = { readonly receipt: string } | { readonly offset: number }

/** Milliseconds without a sign of life after which a request is given up. */
const silenceMs = 30_000

/** Bytes a second at which a node reads and flushes at least. */
const nodeRate = 16 * 1024 * 1024

/** Throws UploadError with the node's own code, storage_unreachable without one; the signal's reason. */
export function put(request: PutRequest): Promise<PutReply> {
  const { url, body, headers, total, onProgress, signal } = request
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest()
    let timer: ReturnType<typeof setTimeout> | undefined
    function watch(ms: number): void {
      clearTimeout(timer)
      timer = setTimeout(() => fail('storage_unreachable', 'the storage node went silent'), ms)
    }
    function end(): void {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      xhr.onloadend = null
      xhr.upload.onprogress = null
      xhr.abort()
    }
    function fail(code: ErrorCode, message: string): void {
      end()
      reject(new UploadError(code, message))
    }
    function onAbort(): void {
      end()
      reject(signal?.reason as Error)
    }
    xhr.upload.onprogress = ({ loaded }) => {
      watch(silenceMs)
      onProgress(loaded)
    }
    xhr.upload.onload = () => watch(silenceMs + (total / nodeRate) * 1000)
    xhr.onloadend = () => {
      const { status } = xhr
      const receipt = status === 0 ? null : xhr.getResponseHeader('omg-receipt')
      const offset = status === 202 ? xhr.getResponseHeader('omg-offset') : null
      const text = xhr.responseText
      end()
      if (receipt) resolve({ receipt })
      else if (offset) resolve({ offset: Number(offset) })
      else if (status === 0) reject(new UploadError('storage_unreachable', 'no connection'))
      else reject(problemOf(status, text))
    }
    if (signal?.aborted) {
      onAbort()
      return
    }
    signal?.addEventListener('abort', onAbort)
    xhr.open('PUT', url)
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value)
    watch(silenceMs)
    xhr.send(body)
  })
}

function problemOf(status: number, text: string): UploadError {
  try {
    const { code, message } = JSON.parse(text) as { code: ErrorCode; message: string }
    if (code) return new UploadError(code, message)
  } catch {
    // Not a node of ours.
  }
  return new UploadError('storage_unreachable', `the storage node answered ${status}`)
}
