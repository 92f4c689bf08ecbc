/** HEAD, which every close of an upload asks for: without the stream and timers of a whole request. */
import type { Dispatcher } from 'undici'
import { isClosed, unreachable, type Target } from './storage-http.ts'

export interface HeadAnswer {
  readonly statusCode: number
  readonly contentLength: string | undefined
}

/** Asks; once more where a kept connection was closed under it. Throws storage_unreachable. */
export async function requestHead(
  agent: Dispatcher,
  target: Target,
  signal: AbortSignal | undefined,
): Promise<HeadAnswer> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask(agent, target, signal)
    } catch (err) {
      signal?.throwIfAborted()
      // A server may close an idle connection in the moment it is used again (RFC 9112 §9.3.1).
      if (attempt > 0 || !isClosed(err)) throw unreachable(target, err)
    }
  }
}

function ask(
  agent: Dispatcher,
  { origin, path }: Target,
  signal: AbortSignal | undefined,
): Promise<HeadAnswer> {
  signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    let abort: (() => void) | undefined
    const done = (): void => {
      if (abort) signal?.removeEventListener('abort', abort)
    }
    let answer: HeadAnswer | undefined
    // The connection can go on after it: only servers that answer HEAD with a body need a new one.
    agent.dispatch(
      { origin, path, method: 'HEAD', reset: false },
      {
        onRequestStart(controller) {
          done() // of an attempt that undici itself repeats
          abort = () => controller.abort(signal?.reason as Error)
          signal?.addEventListener('abort', abort, { once: true })
        },
        onResponseStart(_controller, statusCode, headers) {
          const length = headers['content-length']
          answer = { statusCode, contentLength: typeof length === 'string' ? length : undefined }
        },
        onResponseData() {},
        onResponseEnd() {
          done()
          if (answer) resolve(answer)
        },
        onResponseError(_controller, err) {
          done()
          reject(err)
        },
      },
    )
  })
}
