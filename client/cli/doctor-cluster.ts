/** The part of `omg doctor` that reckons with what the tracker knows: room, rules and queues. */
import type { DeviceInfo, DomainInfo, HostInfo } from '../../common/protocol/configuration.ts'
import type { ClusterStatus } from '../../common/protocol/status.ts'
import type { FsckStatus } from '../../common/protocol/upkeep.ts'
import { ok, problem, warning, type Finding } from './finding.ts'
import { formatBytes, plural, printable } from './text.ts'

export interface ClusterFacts {
  readonly status: ClusterStatus
  readonly domains: readonly DomainInfo[]
  readonly fsck: FsckStatus
  /** Files of which no good copy is known; `manyDamaged` stands for more. */
  readonly damaged: number
  /** Bytes that stay free on every device. */
  readonly reserve: number
}

/** Share of a device above which it is told to be full soon. */
const fullShare = 0.9

/** Jobs that are due at once at which the trackers seem not to keep up. */
const manyDue = 10_000

/** Damaged files that are counted at most. */
export const manyDamaged = 1_000

/** Judges all of it. */
export function checkCluster(facts: ClusterFacts): Finding[] {
  return [
    ...checkStates(facts),
    ...checkRoom(facts),
    ...checkRules(facts),
    ...checkQueues(facts),
    ...checkFsck(facts.fsck),
    ...checkDamage(facts.damaged),
    ...checkStandbys(facts.status),
  ]
}

const freeOf = ({ totalBytes, usedBytes }: DeviceInfo): number =>
  Math.max(0, (totalBytes ?? 0) - (usedBytes ?? 0))

function takesFiles(device: DeviceInfo, { status: { hosts }, reserve }: ClusterFacts): boolean {
  return isWriteable(device, hosts) && freeOf(device) > reserve
}

const isWriteable = ({ status, observed, host }: DeviceInfo, hosts: readonly HostInfo[]): boolean =>
  status === 'alive' &&
  observed === 'writeable' &&
  hosts.some(({ name, status: state }) => name === host && state === 'alive')

function checkStates({ status: { hosts, devices } }: ClusterFacts): Finding[] {
  const findings: Finding[] = []
  for (const { name, status, observed } of hosts) {
    if (status === 'down') {
      const advice = `omg host mark ${name} alive when it is back, dead when it never will be`
      findings.push(warning(name, 'the host is marked down', advice))
    } else if (status !== 'dead' && observed === 'unreachable') {
      const advice = 'look at the machine and at the network between it and the trackers'
      findings.push(problem(name, 'the tracker cannot reach the host', advice))
    }
  }
  for (const { devid, host, status, observed } of devices) {
    const there = hosts.some(one => one.name === host && one.observed === 'reachable')
    if (status === 'down') {
      const advice = `omg device mark ${devid} alive when it is back, dead when it is lost`
      findings.push(warning(`dev${devid}`, `the device on ${host} is marked down`, advice))
    } else if (status === 'alive' && there && observed !== 'writeable') {
      const advice = `look at the disk in ${host}, and at the node's log`
      findings.push(problem(`dev${devid}`, `is seen ${observed}, not writeable`, advice))
    }
  }
  return findings
}

function checkRoom(facts: ClusterFacts): Finding[] {
  const { status, reserve } = facts
  const used = status.devices.filter(({ status: state }) => state !== 'dead' && state !== 'down')
  const findings: Finding[] = []
  for (const device of used) {
    const { devid, usedBytes, totalBytes } = device
    if (totalBytes === null || usedBytes === null) continue
    const text = `${formatBytes(freeOf(device))} of ${formatBytes(totalBytes)} are free`
    const advice = 'add a device, or omg rebalance policy from_devices=… and start it'
    if (freeOf(device) <= reserve) {
      findings.push(problem(`dev${devid}`, `takes no files: ${text}`, advice))
    } else if (usedBytes > fullShare * totalBytes) {
      findings.push(warning(`dev${devid}`, `full soon: ${text}`, advice))
    }
  }
  const hosts = [...new Set(used.map(({ host }) => host))]
  for (const name of hosts.length > 1 ? hosts : []) {
    const held = sum(used.filter(({ host }) => host === name).map(one => one.usedBytes ?? 0))
    const room = sum(
      used
        .filter(device => device.host !== name && takesFiles(device, facts))
        .map(device => freeOf(device) - reserve),
    )
    if (held > room) {
      findings.push(
        warning(
          'space',
          `were ${name} lost, its ${formatBytes(held)} would not fit on the others (${formatBytes(room)} free)`,
          'add a host or devices, so that the cluster can heal by itself',
        ),
      )
    }
  }
  const free = sum(used.filter(device => takesFiles(device, facts)).map(freeOf))
  if (findings.length === 0)
    findings.push(ok('space', `${formatBytes(free)} are free for new files`))
  return findings
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)

function checkRules(facts: ClusterFacts): Finding[] {
  const { status, domains } = facts
  const writeable = status.devices.filter(device => takesFiles(device, facts))
  const hosts = new Set(writeable.map(({ host }) => host)).size
  if (writeable.length === 0) {
    const advice = 'omg status shows what is down; omg node add brings more'
    return [problem('devices', 'none takes new files', advice)]
  }
  const findings: Finding[] = []
  for (const { name: domain, classes } of domains) {
    for (const { name, mindevcount, replpolicy } of classes) {
      const count = Number(/\((\d+)\)/.exec(replpolicy)?.[1] ?? mindevcount)
      const [there, what] = replpolicy.startsWith('MultipleDevices')
        ? [writeable.length, 'device']
        : [hosts, 'host']
      if (count <= there) continue
      findings.push(
        warning(
          `class ${printable(domain)} ${printable(name)}`,
          `asks for ${count} copies (${printable(replpolicy)}), and ${plural(there, what)} ${there === 1 ? 'takes' : 'take'} files`,
          `add a host, or omg class modify ${printable(domain)} ${printable(name)} --mindevcount ${there}`,
        ),
      )
    }
  }
  return findings.length > 0
    ? findings
    : [
        ok(
          'classes',
          `all can be kept: ${plural(writeable.length, 'device')} on ${plural(hosts, 'host')} take files`,
        ),
      ]
}

function checkQueues({ status: { queues } }: ClusterFacts): Finding[] {
  return Object.entries(queues).map(([name, { waiting, due, lastError }]) => {
    const check = `queue ${name}`
    const text = `${plural(waiting, 'job')} waiting, ${due} of them due`
    if (due > manyDue) {
      const advice = 'omg top shows whether it shrinks; more trackers work it off faster'
      return warning(check, text, advice)
    }
    if (lastError !== undefined) {
      const advice = 'omg why tells it of a file; omg queue replicate-now when the cause is gone'
      return warning(check, `${text}; failed with: ${printable(lastError)}`, advice)
    }
    return ok(check, text)
  })
}

function checkFsck({ events, startedAt }: FsckStatus): Finding[] {
  const gone = (events['GONE'] ?? 0) + (events['NOPA'] ?? 0)
  if (gone > 0) {
    const advice = 'omg fsck log names them; put them again, or bring the lost device back'
    return [problem('fsck', `${plural(gone, 'file')} had no copy anywhere`, advice)]
  }
  const bad = (events['BSUM'] ?? 0) + (events['BLEN'] ?? 0) + (events['MSUM'] ?? 0)
  if (bad > 0) {
    const advice = 'omg fsck log names the devices: look at their disks'
    return [warning('fsck', `${plural(bad, 'copy', 'copies')} had wrong bytes`, advice)]
  }
  if (startedAt === undefined) {
    return [warning('fsck', 'never ran', 'omg fsck start checks every file and mends it')]
  }
  return [ok('fsck', 'found nothing that was lost or wrong')]
}

function checkDamage(damaged: number): Finding[] {
  if (damaged === 0) return []
  const files = `${damaged < manyDamaged ? '' : 'at least '}${plural(damaged, 'file')}`
  const advice = 'omg scrub damage names them; put them again, or bring a lost device back'
  return [problem('damage', `no good copy is known of ${files}`, advice)]
}

function checkStandbys({ standbys: { count, asynchronous } }: ClusterStatus): Finding[] {
  if (asynchronous === 0) return []
  const standbys = count === 1 ? 'its standby is' : `${asynchronous} of its ${count} standbys are`
  return [
    warning(
      'database',
      `${standbys} not synchronous: a failover may lose the last files that were acknowledged`,
      'name it in synchronous_standby_names of Postgres (synchronous_mode of Patroni)',
    ),
  ]
}
