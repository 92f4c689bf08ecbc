/** Where a copy comes from: a replica of the same content on another device. */
import type { Agent } from 'undici'
import { CodedError, isCoded } from '../common/errors.ts'
import { parseReplicaPath, type Replica } from '../common/layout.ts'

/** A Source that may be asked, once its `origin` is known to be allowed. */
export interface Source {
  /** `HOST:PORT`, literally. */
  readonly origin: string
  readonly url: URL
}

const refused = (why: string): CodedError => new CodedError('source_refused', why)

/**
 * Reads a Source field. Throws source_refused unless it is the plain URL of a replica of the same
 * content on another device: numbers of devices are unique in a cluster, so one's own is oneself.
 */
export function parseSource(field: string | string[] | undefined, target: Replica): Source {
  const text = typeof field === 'string' ? field : ''
  // Parsers fold what they find odd; what is not spelled as we would is no address of ours.
  const match = /^https?:\/\/([\w.:[\]-]+)(\/[\w./-]*)(\?[\w.-]*)?$/.exec(text)
  const [, origin = '', path = ''] = match ?? []
  if (!match || !URL.canParse(text)) throw refused('Source is not the URL of a replica')
  const replica = parseReplicaPath(path)
  if (replica?.fid !== target.fid) throw refused('Source is not a replica of this content')
  if (replica.devid === target.devid) throw refused('Source is the file itself')
  return { origin, url: new URL(text) }
}

/** Fetches what is to be copied. */
export interface Puller {
  /**
   * Opens the source. `size` is what it says that it has. Throws source_failed; so does the body,
   * when it breaks.
   */
  open(source: Source): Promise<{ size: number; body: AsyncGenerator<Buffer, void, undefined> }>
  close(): Promise<void>
}

/** Creates one with connections of its own. */
export function createPuller(): Puller {
  let agent: Promise<Agent> | undefined
  // Loaded when it is first needed: it is large, and most nodes of small clusters never copy.
  const connect = async (): Promise<Agent> => {
    const undici = await import('undici')
    return new undici.Agent({
      connect: { timeout: 1_000 },
      headersTimeout: 5_000,
      bodyTimeout: 10_000,
      connections: 16,
    })
  }

  async function* read(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
    const chunks = body[Symbol.asyncIterator]()
    try {
      for (;;) {
        const { done, value } = await chunks.next().catch((err: unknown) => {
          throw failed('the source broke off', err)
        })
        if (done) return
        yield value
      }
    } finally {
      await chunks.return?.()
    }
  }

  return {
    async open({ url }) {
      try {
        const path = url.pathname + url.search
        agent ??= connect()
        const answer = await (await agent).request({ origin: url.origin, path, method: 'GET' })
        // Broken with no reader, it must not bring the process down.
        answer.body.on('error', () => {})
        const size = Number(answer.headers['content-length'] ?? Number.NaN)
        if (answer.statusCode !== 200 || !Number.isSafeInteger(size)) {
          answer.body.destroy()
          throw failed(`the source answered ${answer.statusCode}`)
        }
        return { size, body: read(answer.body) }
      } catch (err) {
        throw isCoded(err) ? err : failed('the source does not answer', err)
      }
    },
    close: async () => (await agent)?.destroy(),
  }
}

const failed = (message: string, cause?: unknown): CodedError =>
  new CodedError('source_failed', message, { cause })
