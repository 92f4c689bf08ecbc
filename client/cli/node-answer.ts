/** Asking a storage node for its name and devices. */
import Type from 'typebox'
import { Value } from 'typebox/value'
import { formatAddress, urlAddress } from '../../common/address.ts'
import { askHttp, whyFailed } from './ask-http.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { parseJson } from './parse-json.ts'
import { resolveAddress } from './resolve.ts'

/** What a storage node answers to `GET /`. */
const Answer = Type.Object({
  server: Type.Literal('omgfiles'),
  version: Type.String(),
  name: Type.String({ minLength: 1, maxLength: 40 }),
  devices: Type.Array(Type.Integer({ minimum: 1, maximum: 2147483647 })),
})

/** A storage node that answered. */
export interface StorageNode {
  readonly ip: string
  readonly port: number
  readonly name: string
  readonly devices: readonly number[]
}

/**
 * Asks the storage node at the URL `text`. The host in it is resolved once, so that the address that
 * will be registered is the one that answered. Throws UsageError unless it is the root URL of a node,
 * CommandFailure when it holds a password, and when no storage node answers there.
 */
export async function askNode(text: string, signal: AbortSignal): Promise<StorageNode> {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol !== 'http:') throw new UsageError(`not an http URL: ${quote(text)}`)
  if (url.username !== '' || url.password !== '') {
    throw new CommandFailure('a storage node has no user or password: leave them out of the URL')
  }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw new UsageError(`not the root of a storage node: ${quote(text)}`)
  }
  const { host, port } = urlAddress(url)
  const ip = await resolveAddress(host)
  const { name, devices } = await ask({ ip, port, host: url.host, signal })
  return { ip, port, name, devices }
}

async function ask({
  ip,
  port,
  host,
  signal,
}: {
  readonly ip: string
  readonly port: number
  /** What the URL calls it. */
  readonly host: string
  readonly signal: AbortSignal
}): Promise<Type.Static<typeof Answer>> {
  const url = `http://${formatAddress({ host: ip, port })}/`
  const { status, text } = await askHttp(url, { signal, headers: { host } }).catch(
    (err: unknown) => {
      signal.throwIfAborted()
      throw new CommandFailure(`${host}: ${whyFailed(err)} (is omg storage-node running there?)`)
    },
  )
  if (status !== 200) throw new CommandFailure(`${host} is no storage node: it answered ${status}`)
  const value = parseJson(text)
  if (Value.Check(Answer, value)) return value
  throw new CommandFailure(`${host} is no storage node of omgfiles`)
}

/** The URL for a message, without the password that it may hold. */
const quote = (text: string): string => JSON.stringify(text.replace(/\/\/[^/@]*@/, '//…@'))
