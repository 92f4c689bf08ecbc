/** The part of `omg doctor` that judges what the tracker knows: states, space, classes and queues. */
import type { DeviceInfo, DomainInfo, HostInfo } from '../../common/protocol/configuration.ts'
import type { ClusterStatus } from '../../common/protocol/status.ts'
import type { FsckStatus } from '../../common/protocol/upkeep.ts'
import { ok, problem, warning, type Finding } from './finding.ts'
import { formatBytes, plural, printable } from './text.ts'

export interface ClusterFacts {
  readonly status: ClusterStatus
  readonly domains: readonly DomainInfo[]
  readonly fsck: FsckStatus
  /** Files that have no good copy left; counted up to `manyDamaged`. */
  readonly damaged: number
  /** Bytes that stay free on every device. */
  readonly reserve: number
}

/** Share of a device above which doctor warns that it will be full soon. */
const fullShare = 0.9

/** So many jobs due at once mean that the trackers do not keep up. */
const manyDue = 10_000

/** Counting damaged files stops here. */
export const manyDamaged = 1_000

/** All findings about the cluster, in the order in which they are shown. */
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
      const advice = `run omg host mark ${name} alive when it is back, or dead when it never will be`
      findings.push(warning(name, 'the host is marked down', advice))
    } else if (status !== 'dead' && observed === 'unreachable') {
      const advice = 'check the machine, and the network between it and the trackers'
      findings.push(problem(name, 'the tracker cannot reach the host', advice))
    }
  }
  for (const { devid, host, status, observed } of devices) {
    const there = hosts.some(one => one.name === host && one.observed === 'reachable')
    if (status === 'down') {
      const advice = `run omg device mark ${devid} alive when it is back, or dead when it is lost`
      findings.push(warning(`dev${devid}`, `the device on ${host} is marked down`, advice))
    } else if (status === 'alive' && there && observed !== 'writeable') {
      const advice = `check the disk in ${host}, and the log of the node`
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
    const text = `${formatBytes(freeOf(device))} of ${formatBytes(totalBytes)} free`
    const advice =
      'add a device, or move files away: omg rebalance policy from_devices=…, then omg rebalance start'
    if (freeOf(device) <= reserve) {
      findings.push(problem(`dev${devid}`, `too full for new files: ${text}`, advice))
    } else if (usedBytes > fullShare * totalBytes) {
      findings.push(warning(`dev${devid}`, `nearly full: ${text}`, advice))
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
          `if ${name} were lost, its ${formatBytes(held)} would not fit on the others (${formatBytes(room)} free)`,
          'add a host or a device, so that the cluster can heal by itself',
        ),
      )
    }
  }
  const free = sum(used.filter(device => takesFiles(device, facts)).map(freeOf))
  if (findings.length === 0) findings.push(ok('space', `${formatBytes(free)} free for new files`))
  return findings
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)

function checkRules(facts: ClusterFacts): Finding[] {
  const { status, domains } = facts
  const writeable = status.devices.filter(device => takesFiles(device, facts))
  const hosts = new Set(writeable.map(({ host }) => host)).size
  if (writeable.length === 0) {
    const advice = 'omg status shows what is down; omg node add registers more'
    return [problem('devices', 'no device takes new files', advice)]
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
          `asks for ${count} copies (${printable(replpolicy)}), but only ${plural(there, what)} ${there === 1 ? 'takes' : 'take'} files`,
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
          `all can have their copies: ${plural(writeable.length, 'device')} on ${plural(hosts, 'host')} take files`,
        ),
      ]
}

function checkQueues({ status: { queues } }: ClusterFacts): Finding[] {
  return Object.entries(queues).map(([name, { waiting, due, lastError }]) => {
    const check = `queue ${name}`
    const text = `${plural(waiting, 'job')} waiting, ${due} of them due`
    if (due > manyDue) {
      const advice = 'omg top shows whether it shrinks; more trackers get through it faster'
      return warning(check, text, advice)
    }
    if (lastError !== undefined) {
      const advice =
        'omg why explains it for one file; run omg queue replicate-now once the cause is gone'
      return warning(check, `${text}; last failure: ${printable(lastError)}`, advice)
    }
    return ok(check, text)
  })
}

function checkFsck({ events, startedAt }: FsckStatus): Finding[] {
  const gone = (events['GONE'] ?? 0) + (events['NOPA'] ?? 0)
  if (gone > 0) {
    const advice = 'omg fsck log names them; put them again, or bring back the device they were on'
    return [problem('fsck', `${plural(gone, 'file')} had no copy left`, advice)]
  }
  const bad = (events['BSUM'] ?? 0) + (events['BLEN'] ?? 0) + (events['MSUM'] ?? 0)
  if (bad > 0) {
    const advice = 'omg fsck log names the devices; check their disks'
    return [warning('fsck', `${plural(bad, 'copy', 'copies')} had wrong bytes`, advice)]
  }
  if (startedAt === undefined) {
    return [warning('fsck', 'never ran', 'omg fsck start checks and repairs all files')]
  }
  return [ok('fsck', 'found nothing lost or damaged')]
}

function checkDamage(damaged: number): Finding[] {
  if (damaged === 0) return []
  const files = `${damaged < manyDamaged ? '' : 'at least '}${plural(damaged, 'file')}`
  const advice =
    'omg scrub damage names them; put them again, or bring back the device they were on'
  return [problem('damage', `no good copy is left of ${files}`, advice)]
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
