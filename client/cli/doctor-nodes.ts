/** The part of `omg doctor` that asks the storage nodes themselves. */
import { formatAddress } from '../../common/address.ts'
import type { DeviceInfo, HostInfo } from '../../common/protocol/configuration.ts'
import { version } from '../../common/version.ts'
import { askHttp, whyFailed, type Answer } from './ask-http.ts'
import { parseJson } from './parse-json.ts'
import { judgeClock, ok, problem, warning, type Finding } from './finding.ts'

interface Context {
  readonly devices: readonly DeviceInfo[]
  /** Seconds by which the tracker's clock is ahead of ours. */
  readonly trackerClock: number
  readonly signal: AbortSignal
}

/** The answer of a node to `GET /`: the fields that are checked here. */
interface NodeAnswer {
  readonly server?: unknown
  readonly name?: unknown
  readonly version?: unknown
  readonly fsync?: unknown
  readonly devices?: unknown
}

/** Asks the nodes of all hosts that are `alive` or `readonly`. */
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
        `${address} is no storage node of omgfiles, so only little can be checked`,
        'run omg storage-node there; other WebDAV servers work too, but without checksums and receipts',
      ),
    ]
  }
  const findings: Finding[] = []
  if (answer.name !== host.name) {
    findings.push(
      problem(
        host.name,
        `the node at ${address} calls itself ${JSON.stringify(answer.name)}`,
        `start it with --name ${host.name}: its secret depends on that name`,
      ),
    )
  }
  if (answer.version !== version) {
    findings.push(
      warning(
        host.name,
        `runs version ${String(answer.version)}, but this is ${version}`,
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
        'open the port if files are put or read from here; behind a reproxy, only the reproxy needs it',
      )
    : problem(
        name,
        `cannot be reached: ${why}`,
        `start omg storage-node there, or take it out of service: omg host mark ${name} down`,
      )
}

const judgeFlush = ({ name }: HostInfo, { fsync }: NodeAnswer): Finding =>
  fsync === 'on'
    ? ok(name, 'answers, and flushes files to disk before it says OK')
    : problem(
        name,
        'says OK before the bytes are on disk: a power cut loses files',
        'restart it without --fsync off',
      )

/** Compares the devices that the node has with those that are registered. */
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
            `should have ${list(missing.map(({ devid }) => devid))}, but does not`,
            'mount the disk below --root; if it is lost, run omg device mark DEVID dead',
          ),
        ]
      : [ok(name, `all of its ${own.length} devices are mounted`)]),
    ...(others.length > 0
      ? [
          warning(
            name,
            `has ${list(others)}, not registered`,
            'omg node add URL registers new devices',
          ),
        ]
      : []),
  ]
}

/** Problems that the node itself reports about its disks, in its metrics. */
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
      `check the disk and dmesg; until it is repaired: omg device mark ${devid} ${state === 'readonly' ? 'readonly' : 'down'}`,
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
  const value = parseJson(text)
  return typeof value === 'object' && value !== null ? value : {}
}
