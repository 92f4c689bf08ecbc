/**
 * What our own storage nodes do beyond any WebDAV server: copies from node to node, digests of stored
 * files, lists of them. Whether a node can is asked of it once and remembered for a minute; what it
 * cannot do is answered as such without being tried.
 */
import type { Dispatcher } from 'undici'
import { CodedError } from '../common/errors.ts'
import { readText } from './answers.ts'
import {
  failure,
  isSuccess,
  lengthOf,
  parse,
  putAnswer,
  unreachable,
  type PutAnswer,
  type Target,
} from './storage-http.ts'
import { linesOf, patienceFor, type Send, type Together } from './storage-together.ts'

export type Algorithm = 'sha256' | 'md5' | 'sha1'

/**
 * `copy`: COPY with Source. `content-range`: PUT in parts. `copies`, `deletions`: many in one request.
 * The others are named like the methods here.
 */
export type Capability =
  | 'copy'
  | 'copies'
  | 'content-range'
  | 'deletions'
  | 'digest'
  | 'inventory'
  | 'receipt'
  | 'set-aside'

interface Options {
  readonly signal?: AbortSignal | undefined
}

export interface CopyOptions extends Options {
  /** Bytes that the copy must have. */
  readonly size: number
  /** SHA-256 that it must have, lower-case hex; undefined when not known. */
  readonly sha256?: string | undefined
  /**
   * Where the device takes several copies in one request (`/dev<N>/copies`, signed for COPY of
   * `copies`): small ones that wait for each other go there together, when the node can.
   */
  readonly together?: string | undefined
}

export interface DigestOptions extends Options {
  /** Nobody waits for it: the node first does what it is asked without this. */
  readonly patient?: boolean
}

export interface InventoryOptions extends Options {
  /** Goes on behind this fid of an earlier list. */
  readonly after?: number | undefined
  /** Files behind this one are not wanted; a node that cannot leave them out lists them as well. */
  readonly until?: number | undefined
  /** Has each file read for these. */
  readonly algorithms?: readonly Algorithm[] | undefined
}

/** Lower-case hex, by algorithm. */
export type Digest = Partial<Readonly<Record<Algorithm, string>>>

/** A replica on a device. */
export interface StoredFile {
  readonly fid: number
  readonly size: number
  /** Unix seconds of its last change. */
  readonly mtime: number
  /** When digests were asked for and the file could be read. */
  readonly digest?: Digest
  /** Code of why it could not. */
  readonly error?: string
}

export interface NodeRequests {
  /** What the node at `url` can do; nothing for a foreign server. Throws when it cannot be asked. */
  capabilities(url: string, options?: Options): Promise<ReadonlySet<Capability>>
  /** Whether the node at `url` flushes what it stores before it says so; undefined: it does not tell. */
  flushes(url: string, options?: Options): Promise<boolean | undefined>
  /**
   * Has the node at `url` (signed for COPY, of `FID@HOST:PORT` of the source) fetch a replica from
   * `source` (signed for GET). Undefined when it cannot, a foreign one for example. Throws
   * source_refused, source_failed, fid_exists, and what `put` throws.
   */
  copy(url: string, source: string, options: CopyOptions): Promise<PutAnswer | undefined>
  /**
   * The digests of a stored file, read from its disk by the node itself, and its size. Undefined when
   * the node cannot. Throws not_found, storage_unreachable.
   */
  digest(
    url: string,
    algorithms: readonly Algorithm[],
    options?: DigestOptions,
  ): Promise<{ readonly size: number; readonly digest: Digest } | undefined>
  /**
   * Takes a replica (URL signed for DELETE) out of service unless its bytes have this SHA-256 (hex);
   * the node looks itself. True: it is gone. False: it is good. Undefined: the node cannot.
   */
  setAside(url: string, sha256: string, options?: Options): Promise<boolean | undefined>
  /**
   * The replicas on a device, in the order of their paths; `url` is `/dev<N>/inventory`, signed for GET
   * of `inventory`. Throws not_implemented when the node has none, storage_unreachable when the list
   * breaks off: resume it behind the last one that came.
   */
  inventory(url: string, options?: InventoryOptions): AsyncGenerator<StoredFile, void, undefined>
}

const rememberMs = 60_000

/** A digest takes an hour at most. */
const digestMs = 3600_000

const fieldNames: Readonly<Record<Algorithm, string>> = {
  sha256: 'sha-256',
  md5: 'md5',
  sha1: 'sha',
}
const algorithmNames = Object.keys(fieldNames) as Algorithm[]

/** Up to this size copies to one device go out together. */
const smallBytes = 256 * 1024

/** Creates the requests over `send`; `together` has small ones done with others. */
export function createNodeRequests(send: Send, together: Together): NodeRequests {
  const known = new Map<string, About & { readonly at: number }>()

  async function askAbout(target: Target, options: Options): Promise<About> {
    const found = known.get(target.origin)
    if (found && performance.now() - found.at < rememberMs) return found
    const answer = await send({ ...target, path: '/' }, 'GET', options)
    const about = readAbout(await readText(answer.body))
    known.set(target.origin, { at: performance.now(), ...about })
    return about
  }

  const ask = async (target: Target, options: Options): Promise<ReadonlySet<Capability>> =>
    (await askAbout(target, options)).can

  return {
    capabilities: (url, options = {}) => ask(parse(url), options),

    flushes: async (url, options = {}) => (await askAbout(parse(url), options)).flushes,

    async copy(url, source, { size, sha256, together: at, signal }) {
      const target = parse(url)
      const can = await ask(target, { signal })
      if (!can.has('copy')) return undefined
      if (at !== undefined && size <= smallBytes && can.has('copies')) {
        return together(at, { path: target.path, source, size, sha256 }, signal)
      }
      const headers: Record<string, string> = { source, 'omg-expected-size': String(size) }
      if (sha256 !== undefined) {
        const digest = Buffer.from(sha256, 'hex').toString('base64')
        headers['omg-expected-digest'] = `sha-256=:${digest}:`
      }
      const headersTimeout = patienceFor(size)
      const method = 'COPY' as Dispatcher.HttpMethod
      const answer = await send(target, method, { headers, headersTimeout, signal })
      if (!isSuccess(answer)) throw await failure(target, answer)
      await answer.body.dump()
      return putAnswer(answer.headers)
    },

    async digest(url, algorithms, { signal, patient } = {}) {
      const target = parse(url)
      if (!(await ask(target, { signal })).has('digest')) return undefined
      const headers = {
        'want-repr-digest': wanted(algorithms),
        ...(patient && { priority: 'u=7' }),
      }
      const answer = await send(target, 'HEAD', { headers, headersTimeout: digestMs, signal })
      if (!isSuccess(answer)) throw await failure(target, answer)
      await answer.body.dump()
      const size = lengthOf(target, answer.headers['content-length'])
      return { size, digest: readDigest(answer.headers['repr-digest']) }
    },

    async setAside(url, sha256, { signal } = {}) {
      const target = parse(url)
      // A server that does not know the field would delete the file.
      if (!(await ask(target, { signal })).has('set-aside')) return undefined
      const digest = Buffer.from(sha256, 'hex').toString('base64')
      const headers = { 'omg-set-aside': `sha-256=:${digest}:` }
      const answer = await send(target, 'DELETE', { headers, headersTimeout: digestMs, signal })
      if (!isSuccess(answer)) throw await failure(target, answer)
      await answer.body.dump()
      return answer.statusCode === 204
    },

    async *inventory(url, { after, until, algorithms = [], signal } = {}) {
      const target = parse(url)
      if (!(await ask(target, { signal })).has('inventory')) {
        throw new CodedError('not_implemented', `${target.who} cannot list its files`)
      }
      const headers: Record<string, string> = {}
      if (after !== undefined) headers['omg-after-fid'] = String(after)
      if (until !== undefined) headers['omg-until-fid'] = String(until)
      if (algorithms.length > 0) headers['want-repr-digest'] = wanted(algorithms)
      const answer = await send(target, 'GET', {
        headers,
        signal,
        ...(algorithms.length > 0 && { headersTimeout: digestMs, bodyTimeout: digestMs }),
      })
      if (!isSuccess(answer)) throw await failure(target, answer)
      yield* readLines(target, answer.body)
    },
  }
}

async function* readLines(
  target: Target,
  body: Dispatcher.ResponseData['body'],
): AsyncGenerator<StoredFile, void, undefined> {
  let broken: unknown = new Error('the list broke off')
  let ended = false
  // It fails once more when it is left in mid-list.
  body.on('error', err => {
    broken = err
  })
  try {
    for await (const line of linesOf(body)) {
      const { digest, ...file } = JSON.parse(line) as StoredFile & {
        end?: true
        digest?: string
      }
      // It is read to its end, so that the connection can be used again.
      ended ||= file.end === true
      if (ended) continue
      yield { ...file, ...(digest !== undefined && { digest: readDigest(digest) }) }
    }
  } catch (err) {
    broken = err
  } finally {
    body.destroy()
  }
  if (!ended) throw unreachable(target, broken)
}

/** What a node says of itself; a foreign one says nothing. */
interface About {
  readonly can: ReadonlySet<Capability>
  readonly flushes: boolean | undefined
}

function readAbout(text: string): About {
  const nothing = { can: new Set<Capability>(), flushes: undefined }
  try {
    const { server, capabilities, fsync } = JSON.parse(text) as Record<string, unknown>
    if (server !== 'omgfiles' || !Array.isArray(capabilities)) return nothing
    const flushes = fsync === 'on' || fsync === 'off' ? fsync === 'on' : undefined
    return { can: new Set(capabilities as Capability[]), flushes }
  } catch {
    return nothing
  }
}

const wanted = (algorithms: readonly Algorithm[]): string =>
  algorithms.map(algorithm => `${fieldNames[algorithm]}=1`).join(', ')

/** Reads a Repr-Digest field (RFC 9530). */
function readDigest(field: string | string[] | undefined): Digest {
  const digest: Partial<Record<Algorithm, string>> = {}
  for (const [, name, base64 = ''] of String(field ?? '').matchAll(/([a-z0-9-]+)=:([^:]*):/g)) {
    const algorithm = algorithmNames.find(known => fieldNames[known] === name)
    if (algorithm) digest[algorithm] = Buffer.from(base64, 'base64').toString('hex')
  }
  return digest
}
