/** What a MogileFS client does with a file, step by step. */
import { replicaPath } from '../../../common/layout.ts'
import type { Cluster } from '../../helpers/cluster.ts'
import { lineOf, readOpened, type Opened, type Talk } from './talk.ts'

/** The node that has a device. */
export function nodeOf(cluster: Cluster, devid: number): Cluster['nodes'][number] {
  const node = cluster.nodes.find(({ devids }) => devids.includes(devid))
  if (!node) throw new Error(`no node has device ${devid}`)
  return node
}

/** A replica's URL as MogileFS writes it. */
export const urlOf = (cluster: Cluster, devid: number, fid: number): string =>
  `http://${nodeOf(cluster, devid).service.listening()['http']}${replicaPath({ devid, fid })}`

/** PUTs to a URL as it was given out. */
export async function write(url: string, bytes: string): Promise<void> {
  const answer = await fetch(url, { method: 'PUT', body: bytes })
  await answer.arrayBuffer()
  if (!answer.ok) throw new Error(`PUT answered ${answer.status}`)
}

/** Opens an upload in the domain `test`. */
export async function open(
  talk: Talk,
  key: string,
  args: Record<string, string> = {},
): Promise<Opened> {
  return readOpened(await talk.ask(lineOf('create_open', { domain: 'test', key, ...args })))
}

/** The line that closes an upload on its first device. */
export function closeLine(
  { fid, targets }: Opened,
  key: string,
  args: Record<string, string | number> = {},
): string {
  const { devid, path } = targets[0]!
  return lineOf('create_close', { domain: 'test', key, fid, devid, path, ...args })
}

/** Stores a file with one copy, as a MogileFS client does. */
export async function put(
  talk: Talk,
  key: string,
  bytes: string,
  args: Record<string, string> = {},
): Promise<Opened> {
  const opened = await open(talk, key, args)
  await write(opened.targets[0]!.path, bytes)
  const answer = await talk.ask(closeLine(opened, key, { size: bytes.length }))
  if (answer !== 'OK ') throw new Error(answer)
  return opened
}
