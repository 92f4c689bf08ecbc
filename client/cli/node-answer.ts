/** What a storage node says of itself. */
import { isIP } from 'node:net'
import { Agent, request } from 'undici'
import Type from 'typebox'
import { Value } from 'typebox/value'
import { urlAddress } from '../../common/address.ts'
import { readText } from '../answers.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { resolveAddress } from './resolve.ts'

/** The answer to `GET /`. */
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

/** Milliseconds that a node has to answer. */
const answerMs = 5_000

/**
 * Asks the storage node at `url`. The name in it is resolved once, so that what is registered is what
 * has answered. Throws UsageError for what is no such URL, CommandFailure for one with a password and
 * unless a node answers; no redirect is followed.
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
  const answer = await ask({ ip, port, host: url.host, signal })
  return { ip, port, name: answer.name, devices: answer.devices }
}

async function ask({
  ip,
  port,
  host,
  signal,
}: {
  readonly ip: string
  readonly port: number
  readonly host: string
  readonly signal: AbortSignal
}): Promise<Type.Static<typeof Answer>> {
  const dispatcher = new Agent()
  const deadline = AbortSignal.timeout(answerMs)
  try {
    const { statusCode, body } = await request(
      `http://${isIP(ip) === 6 ? `[${ip}]` : ip}:${port}/`,
      {
        dispatcher,
        headers: { host },
        signal: AbortSignal.any([signal, deadline]),
      },
    )
    if (statusCode !== 200) {
      throw new CommandFailure(`${host} is no storage node: it answered ${statusCode}`)
    }
    const value = parse(await readText(body))
    if (!Value.Check(Answer, value)) {
      throw new CommandFailure(`${host} is no storage node of omgfiles`)
    }
    return value
  } catch (err) {
    signal.throwIfAborted()
    if (err instanceof CommandFailure) throw err
    if (deadline.aborted) throw new CommandFailure(`${host} did not answer within 5 s`)
    const { code, message } = err as NodeJS.ErrnoException
    throw new CommandFailure(`${host}: ${message || code}`)
  } finally {
    await dispatcher.destroy()
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const quote = (text: string): string => JSON.stringify(text.replace(/\/\/[^/@]*@/, '//…@'))
