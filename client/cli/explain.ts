/** The state of a file in sentences: where its copies are, how many it should have, what is missing. */
import type { ClassInfo, DeviceInfo, HostInfo } from '../../common/protocol/configuration.ts'
import type { FileInfo } from '../../common/protocol/files.ts'
import type { FileTraces } from '../../common/protocol/upkeep.ts'
import { addressOf } from './address.ts'
import type { FoundCopy } from './debug.ts'
import { formatBytes, plural, printable } from './text.ts'

export interface Facts {
  readonly file: FileInfo
  readonly traces: FileTraces
  readonly copies: readonly Pick<FoundCopy, 'devid' | 'state' | 'error'>[]
  /** The file's class; undefined when it no longer exists. */
  readonly rule: Pick<ClassInfo, 'mindevcount' | 'replpolicy'> | undefined
  readonly devices: readonly DeviceInfo[]
  readonly hosts: readonly HostInfo[]
  /** Bytes that stay free on every device. */
  readonly reserve: number
  /** The last error of replication, of whatever file. */
  readonly lastError: string | undefined
}

export interface Explanation {
  /** The file has as many good copies as it should, and no job waits. */
  readonly well: boolean
  readonly text: string
  /** Copies that the class asks for; undefined when its policy does not say. */
  readonly wanted: number | undefined
  readonly good: number
  /** When a copy is missing: why each device without one cannot take it. Empty if one could. */
  readonly blocked: readonly { readonly devid: number; readonly why: string }[]
}

/** Explains the state of a file. */
export function explain(found: Facts): Explanation {
  const facts = { ...found, copies: found.copies.map(copy => asReadersDo(copy, found)) }
  const { file, rule, copies, traces } = facts
  const wanted = rule && wantedBy(rule)
  const counted = copies.filter(copy => counts(copy, facts))
  const sound = counted.filter(({ state }) => state !== 'unreadable')
  const spread = hostsOf(counted, facts).size
  const missing = wanted === undefined ? 0 : Math.max(0, wanted - counted.length)
  const blocked = missing > 0 ? obstacles(counted, facts) : []
  const sentences = [
    `${addressOf(file)} is fid ${file.fid}, ${formatBytes(file.size)}, of class ${printable(file.class)}${rule ? `, which asks for ${plural(wanted ?? rule.mindevcount, 'copy', 'copies')} (${printable(rule.replpolicy)})` : ', which is no longer there'}.`,
    `It has ${plural(copies.length, 'copy', 'copies')}${copies.length > 0 ? `: ${copies.map(copy => describeCopy(copy, facts)).join(', ')}` : ''}.`,
  ]
  const oneHost = isMultipleHosts(rule) && (wanted ?? 1) > 1 && counted.length > 1 && spread === 1
  const unread = counted.length - sound.length
  if (sound.length === 0) sentences.push('No copy can be read.')
  else if (unread > 0) {
    sentences.push(
      `${plural(unread, 'copy', 'copies')} cannot be read now, and ${unread === 1 ? 'counts' : 'count'} until the device is dead or treated as lost.`,
    )
  }
  if (missing > 0) sentences.push(`${plural(missing, 'copy is', 'copies are')} missing.`)
  if (oneHost) sentences.push('All copies are on one host, but should be on different ones.')
  const jobs = describeJobs(traces)
  sentences.push(...jobs)
  if (missing > 0) sentences.push(...describeObstacles(blocked, facts))
  if (missing > 0 && !traces.replication) {
    sentences.push('No replication is queued: omg fsck start finds the file and queues one.')
  }
  const well = missing === 0 && sound.length === copies.length && !oneHost && sound.length > 0
  if (well && jobs.length === 0) sentences.push('No job waits: all is as it should be.')
  return {
    well: well && jobs.length === 0,
    text: sentences.join(' '),
    wanted,
    good: sound.length,
    blocked,
  }
}

/** Copies that a policy asks for; undefined for a policy that is not one of MogileFS's. */
function wantedBy({ mindevcount, replpolicy }: NonNullable<Facts['rule']>): number | undefined {
  const match = /^(\w+)\s*\(\s*(\d*)\s*\)$/.exec(replpolicy.trim())
  if (!match || !/^Multiple(Hosts|Devices|Networks)$/.test(match[1] ?? '')) return undefined
  return match[2] ? Number(match[2]) : mindevcount
}

const isMultipleHosts = (rule: Facts['rule']): boolean =>
  rule?.replpolicy.startsWith('MultipleHosts') ?? false

function hostsOf(copies: Facts['copies'], { devices }: Facts): Set<string> {
  return new Set(
    copies.flatMap(({ devid }) => devices.find(device => device.devid === devid)?.host ?? []),
  )
}

/**
 * The copy as readers see it: nobody reads from a host or device that is marked down, even if the bytes
 * can still be fetched from there.
 */
function asReadersDo(
  copy: Facts['copies'][number],
  { devices, hosts }: Facts,
): Facts['copies'][number] {
  const device = devices.find(({ devid }) => devid === copy.devid)
  const host = hosts.find(({ name }) => name === device?.host)
  const down =
    host?.status === 'down' || host?.status === 'dead'
      ? `its host is ${host.status}`
      : device?.status === 'down'
        ? 'its device is down'
        : undefined
  if (down === undefined || (copy.state !== 'good' && copy.state !== 'unchecked')) return copy
  return { ...copy, state: 'unreadable', error: down }
}

/** True for a copy that trackers count: not known to be bad, on a device that is not given up. */
function counts({ devid, state }: Facts['copies'][number], { devices }: Facts): boolean {
  const device = devices.find(one => one.devid === devid)
  if (!device || device.status === 'dead' || device.lost) return false
  return state === 'good' || state === 'unchecked' || state === 'unreadable'
}

function describeCopy(
  { devid, state, error }: Facts['copies'][number],
  { devices }: Facts,
): string {
  const device = devices.find(one => one.devid === devid)
  const where = device
    ? `dev${devid} on ${printable(device.host)} (${device.status}, ${device.lost ? 'treated as lost' : device.observed})`
    : `dev${devid}, which is not known`
  if (state === 'good' || state === 'unchecked') return where
  return `${where} where it is ${state}${error === undefined ? '' : ` (${printable(error)})`}`
}

function describeJobs({ replication, deletion, check, moves }: FileTraces): string[] {
  const job = (name: string, { attempts, nextTryAt }: NonNullable<FileTraces['check']>): string =>
    nextTryAt === undefined
      ? `A ${name} was given up after ${plural(attempts, 'try', 'tries')} and waits for a person: omg queue replicate-now.`
      : `A ${name} is next tried at ${nextTryAt}, after ${plural(attempts, 'try', 'tries')}.`
  return [
    ...(replication ? [job('replication', replication)] : []),
    ...(deletion ? [job('deletion', deletion)] : []),
    ...(check ? [job('check', check)] : []),
    ...moves.map(move => job(`move off dev${move.from}`, move)),
  ]
}

/** Why each device without a copy cannot take one; empty when one of them could. */
function obstacles(counted: Facts['copies'], facts: Facts): Explanation['blocked'] {
  const { copies, devices, hosts, file, reserve, rule } = facts
  const holding = new Set(copies.map(({ devid }) => devid))
  const used = hostsOf(counted, facts)
  const blocked: { devid: number; why: string }[] = []
  for (const device of devices) {
    const { devid, status, observed, totalBytes, usedBytes } = device
    if (holding.has(devid) || status === 'dead') continue
    const host = hosts.find(one => one.name === device.host)
    const free = totalBytes === null || usedBytes === null ? 0 : totalBytes - usedBytes
    const why =
      host?.status !== 'alive'
        ? `its host is ${host?.status ?? 'not known'}`
        : status !== 'alive'
          ? `it is ${status}`
          : observed !== 'writeable'
            ? `it was seen ${observed}`
            : free - file.size < reserve
              ? 'it is full'
              : isMultipleHosts(rule) && used.has(device.host)
                ? 'its host has a copy'
                : undefined
    if (why === undefined) return []
    blocked.push({ devid, why })
  }
  return blocked
}

function describeObstacles(
  blocked: Explanation['blocked'],
  { devices, copies, lastError }: Facts,
): string[] {
  const others = devices.filter(
    ({ devid, status }) => status !== 'dead' && copies.every(copy => copy.devid !== devid),
  )
  if (others.length === 0) return ['There is no other device: omg node add registers one.']
  const list = blocked.map(({ devid, why }) => `dev${devid}: ${why}`).join('; ')
  if (blocked.length > 0) return [`No other device can take one (${list}).`]
  return lastError === undefined
    ? []
    : [`Another device can take one. The last replication that failed: ${printable(lastError)}.`]
}
