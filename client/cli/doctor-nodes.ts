/** The part of `omg doctor` that asks every storage node itself. */
import { formatAddress } from '../../common/address.ts'
import type { DeviceInfo, HostInfo } from '../../common/protocol/configuration.ts'
import { version } from '../../common/version.ts'
import { askHttp, whyFailed, type Answer } from './ask-http.ts'
import { judgeClock, ok, problem, warning, type Finding } from './finding.ts'

interface Context {
  readonly devices: readonly DeviceInfo[]
  /** Seconds that the tracker's clock is ahead of ours. */
  readonly trackerClock: number
  readonly signal: AbortSignal
}

/** What a node says of itself, as far as it is looked at. */
interface NodeAnswer {
  readonly server?: unknown
  readonly name?: unknown
  readonly version?: unknown
  readonly fsync?: unknown
  readonly devices?: unknown
}

/** Asks the nodes of all hosts that should answer. */
export async function checkNodes(hosts: readonly HostInfo[], context: Context): Promise<Finding[]> {
  const asked = hosts.filter(({ status }) => status === 'alive' || status === 'readonly')
  return (await Promise.all(asked.map(host => checkNode(host, context)))).flat()
}

async function checkNode(host: HostInfo, context: Context): Promise<Finding[]> {
  const { signal } = context
  const address = formatAddress({ host: host.ip, port: host.port })
  const root = await ask(`http://${address}/`, signal)
  if (typeof root === 'string') return [unreachable(host, `${address}: ${root}`)]
  const answer = parse(root.text)
  if (root.status !== 200 || answer.server !== 'omgfiles') {
    return [
      warning(
        host.name,
        `${address} is no storage node of omgfiles, so that it cannot be looked at closely`,
        'run omg storage-node there; another WebDAV server works, without checksums and receipts',
      ),
    ]
  }
  const findings: Finding[] = []
  if (answer.name !== host.name) {
    findings.push(
      problem(
        host.name,
        `the node at ${address} calls itself ${JSON.stringify(answer.name)}`,
        `start it with --name ${host.name}: its signatures are checked under that name`,
      ),
    )
  }
  if (answer.version !== version) {
    findings.push(
      warning(
        host.name,
        `runs version ${String(answer.version)}, and this is ${version}`,
        'bring both to the same version, nodes first',
      ),
    )
  }
  findings.push(judgeFlush(host, answer))
  if (root.clockSeconds !== undefined) {
    findings.push(judgeClock(host.name, root.clockSeconds - context.trackerClock, "the tracker's"))
  }
  findings.push(...judgeMounts(host, answer, context.devices))
  findings.push(...(await checkDisks(host, address, signal)))
  if (host.getPort !== null && host.getPort !== host.port) {
    const reading = formatAddress({ host: host.ip, port: host.getPort })
    const other = await ask(`http://${reading}/`, signal)
    if (typeof other === 'string') findings.push(unreachable(host, `${reading}: ${other}`))
  }
  return findings
}

function unreachable({ name, observed }: HostInfo, why: string): Finding {
  return observed === 'reachable'
    ? warning(
        name,
        `cannot be reached from here, though the tracker can: ${why}`,
        'open the port where files are put and read directly; behind a reproxy only it needs to reach it',
      )
    : problem(
        name,
        `cannot be reached: ${why}`,
        `start omg storage-node there, or give it up: omg host mark ${name} down`,
      )
}

const judgeFlush = ({ name }: HostInfo, { fsync }: NodeAnswer): Finding =>
  fsync === 'on'
    ? ok(name, 'answers, and flushes what it stores before it says so')
    : problem(
        name,
        'says OK before the bytes are on disk: a power cut loses files',
        'start it without --fsync off',
      )

/** Compares the devices it has with those that are registered. */
function judgeMounts(
  { name }: HostInfo,
  { devices: found }: NodeAnswer,
  all: readonly DeviceInfo[],
): Finding[] {
  const there = new Set(Array.isArray(found) ? (found as unknown[]) : [])
  const own = all.filter(({ host, status }) => host === name && status !== 'dead')
  const missing = own.filter(({ devid, status }) => !there.has(devid) && status !== 'down')
  const others = [...there].filter(devid => all.every(device => device.devid !== devid))
  const list = (devids: readonly unknown[]): string =>
    devids.map(devid => `dev${String(devid)}`).join(' ')
  return [
    ...(missing.length > 0
      ? [
          problem(
            name,
            `${list(missing.map(({ devid }) => devid))} should be there and is not`,
            'mount the disk below --root; if it is lost, omg device mark DEVID dead',
          ),
        ]
      : [ok(name, `all of its ${own.length} devices are mounted`)]),
    ...(others.length > 0
      ? [
          warning(
            name,
            `${list(others)} is there and not registered`,
            'omg node add URL registers what is new',
          ),
        ]
      : []),
  ]
}

/** The node's own view of its disks, in its metrics. */
async function checkDisks(
  { name }: HostInfo,
  address: string,
  signal: AbortSignal,
): Promise<Finding[]> {
  const metrics = await ask(`http://${address}/metrics`, signal)
  if (typeof metrics === 'string' || metrics.status !== 200) return []
  const lines = metrics.text.matchAll(
    /^storage_node_device_writeable\{device="(\d+)",state="(\w+)"\} 0$/gm,
  )
  return Array.from(lines, ([, devid = '', state = '']) =>
    problem(
      name,
      `dev${devid} is ${state}`,
      `look at the disk and at dmesg; meanwhile omg device mark ${devid} ${state === 'readonly' ? 'readonly' : 'down'}`,
    ),
  )
}

async function ask(url: string, signal: AbortSignal): Promise<Answer | string> {
  try {
    return await askHttp(url, { signal })
  } catch (err) {
    signal.throwIfAborted()
    return whyFailed(err)
  }
}

function parse(text: string): NodeAnswer {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}
