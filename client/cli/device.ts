/** `omg device`: the devices, which are the disks of the hosts. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { CodedError } from '../../common/errors.ts'
import type { ChangeDevice, DeviceInfo, DeviceStatus } from '../../common/protocol/configuration.ts'
import { changed, choice, wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, rehearsed, type DestructiveOptions } from './confirm.ts'
import { parseDevid } from './devid.ts'
import { CommandFailure, UsageError } from './failure.ts'
import type { Output } from './output.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, formatSize } from './text.ts'

const statuses: readonly DeviceStatus[] = ['alive', 'readonly', 'drain', 'down', 'dead']

interface Options extends DestructiveOptions {
  readonly status?: DeviceStatus
  readonly weight?: number
}

/** Adds the commands. As in `mogadm`, the host of a device may be named before the device. */
export function addDevice(program: Command, cli: Cli): void {
  const group = program
    .command('device')
    .alias('devices')
    .description('manage devices: the disks of the hosts')
  addList(group, cli)
  addSummary(group, cli)
  addNext(group, cli)
  addAdd(group, cli)
  addMark(group, cli)
  addModify(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = withHost(cli.online(group, 'list', 'list the devices', 'an array of DeviceInfo'))
    .alias('ls')
    .addOption(new Option('--all', 'dead ones too, which are always listed').hideHelp())
  command.action((options: HostOptions) =>
    cli.run(command, options, async session => {
      const { out, json } = session
      const devices = await devicesOf(options, session)
      if (json) await out.json(devices)
      else await writeDevices(devices, out)
    }),
  )
}

function addSummary(group: Command, cli: Cli): void {
  const command = withHost(
    cli.online(
      group,
      'summary',
      'show how full each host is',
      'an array of { host, devices, usedBytes, totalBytes }',
    ),
  ).option('--status <LIST>', 'count only devices in these states', statusList, [
    'alive',
    'readonly',
    'drain',
  ])
  command.action((options: HostOptions & { readonly status: readonly DeviceStatus[] }) =>
    cli.run(command, options, async session => {
      const { out, json } = session
      const devices = await devicesOf(options, session)
      const rows = summarize(devices.filter(({ status }) => options.status.includes(status)))
      if (json) await out.json(rows)
      else await writeSummary(rows, out)
    }),
  )
}

function addNext(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'next',
    'print a number for a new device, which no device has had before',
    '{ devid }',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const devices = await api.listDevices({ signal })
      const devid = devices.reduce((highest, one) => Math.max(highest, one.devid), 0) + 1
      if (json) await out.json({ devid })
      else await out.write(`${devid}\n`)
    }),
  )
}

function addAdd(group: Command, cli: Cli): void {
  const command = withFields(
    cli.online(group, 'add', 'register a device; DEVID is 5 or dev5', 'the DeviceInfo'),
  )
    .argument('<HOST>')
    .argument('<DEVID>')
  command.action((host: string, id: string, options: Options) =>
    cli.run(command, options, async session => {
      const fields = { ...fieldsOf(options), host, devid: parseDevid(id) }
      await show(await session.api.createDevice(fields, { signal: session.signal }), session)
    }),
  )
}

function addMark(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(
      group,
      'mark',
      `set the status of a device: ${statuses.join(', ')}`,
      'the DeviceInfo',
    ),
  )
    .usage('[options] [HOST] DEVID STATUS')
    .argument('<word...>')
  command.action((words: string[], options: DestructiveOptions) =>
    cli.run(command, options, async session => {
      const status = statuses.find(one => one === words.at(-1))
      if (!status) throw new UsageError(`the status is one of ${statuses.join(', ')}`)
      await changeDevice({ ...namedBy(words.slice(0, -1)), change: { status }, options }, session)
    }),
  )
}

function addModify(group: Command, cli: Cli): void {
  const command = destroys(
    withFields(
      cli.online(group, 'modify', 'change a device; what is not given stays', 'the DeviceInfo'),
    ),
  )
    .usage('[options] [HOST] DEVID')
    .argument('<word...>')
  command.action((words: string[], options: Options) =>
    cli.run(command, options, session =>
      changeDevice({ change: changed(fieldsOf(options)), ...namedBy(words), options }, session),
    ),
  )
}

interface HostOptions extends ConnectionOptions {
  readonly host?: string
  /** The same, as `mogadm` spells it. */
  readonly hostname?: string
}

const withHost = (command: Command): Command =>
  command
    .option('--host <NAME>', 'only devices of this host')
    .addOption(new Option('--hostname <NAME>', 'the same').hideHelp())

/** All devices, or those of one host. Throws host_not_found. */
async function devicesOf(
  { hostname, host = hostname }: HostOptions,
  { api, signal }: Session,
): Promise<DeviceInfo[]> {
  const devices = await api.listDevices({ signal })
  if (host === undefined) return devices
  const found = devices.filter(device => device.host === host)
  if (found.length > 0) return found
  const hosts = await api.listHosts({ signal })
  if (hosts.some(({ name }) => name === host)) return []
  throw new CodedError('host_not_found', `no host ${JSON.stringify(host)}`)
}

function statusList(text: string): DeviceStatus[] {
  return text.split(',').map(word => {
    const status = statuses.find(one => one === word)
    if (!status) throw new InvalidArgumentError(`It must be a list of ${statuses.join(',')}.`)
    return status
  })
}

function withFields(command: Command): Command {
  return command
    .addOption(choice('--status <STATUS>', 'what the device is used for', statuses))
    .option('--weight <N>', 'share of new files; others have 100', wholeNumber(0, 1_000_000))
}

const fieldsOf = ({ status, weight }: Options): ChangeDevice => ({
  ...(status !== undefined && { status }),
  ...(weight !== undefined && { weight }),
})

/** Reads `[HOST] DEVID`. Throws UsageError. */
function namedBy(words: readonly string[]): { devid: number; host: string | undefined } {
  const [id, host] = words.toReversed()
  if (id === undefined || words.length > 2) {
    throw new UsageError('name one device: its number, or its host and its number')
  }
  return { devid: parseDevid(id), host }
}

/** Changes a device, which must be in `host` where that is given. Asks before one is marked dead. */
async function changeDevice(
  {
    devid,
    host,
    change,
    options,
  }: {
    devid: number
    host: string | undefined
    change: ChangeDevice
    options: DestructiveOptions
  },
  session: Session,
): Promise<void> {
  const { api, signal } = session
  const isFatal = change.status === 'dead'
  const what = isFatal ? `give up all copies on dev${devid}` : `change dev${devid}`
  const rehearsal = { action: 'device.change', devid, change } as const
  if (options.dryRun) await checkHost(devid, host, session)
  if (await rehearsed(what, options, session, rehearsal)) return
  if (isFatal) await mayDestroy(what, options, session, rehearsal)
  await checkHost(devid, host, session)
  await show(await api.changeDevice(devid, change, { signal }), session)
}

/** Throws no_device, or CommandFailure, unless the device is in `host`; undefined stands for any. */
async function checkHost(
  devid: number,
  host: string | undefined,
  { api, signal }: Session,
): Promise<void> {
  if (host === undefined) return
  const device = (await api.listDevices({ signal })).find(one => one.devid === devid)
  if (!device) throw new CodedError('no_device', `no device ${devid}`)
  if (device.host !== host) {
    throw new CommandFailure(`dev${devid} is in ${device.host}, not in ${host}`)
  }
}

async function show(device: DeviceInfo, { out, json }: Session): Promise<void> {
  if (json) await out.json(device)
  else await writeDevices([device], out)
}

function writeDevices(devices: readonly DeviceInfo[], out: Output): Promise<void> {
  return out.table(
    [
      { title: 'DEVICE' },
      { title: 'HOST', shrink: true },
      { title: 'STATUS' },
      { title: 'SEEN' },
      { title: 'WEIGHT', right: true },
      { title: 'USED', right: true },
      { title: 'FREE', right: true },
      { title: 'SIZE', right: true },
    ],
    devices.map(({ devid, host, status, observed, weight, usedBytes, totalBytes }) => [
      `dev${devid}`,
      host,
      status,
      observed,
      String(weight),
      formatSize(usedBytes),
      formatSize(totalBytes === null || usedBytes === null ? null : totalBytes - usedBytes),
      formatSize(totalBytes),
    ]),
  )
}

interface HostSummary {
  readonly host: string
  readonly devices: number
  readonly usedBytes: number
  readonly totalBytes: number
}

/** Sums by host. A device that has not reported its size counts as 0 bytes. */
function summarize(devices: readonly DeviceInfo[]): HostSummary[] {
  const byHost = new Map<string, HostSummary>()
  for (const { host, usedBytes, totalBytes } of devices) {
    const sum = byHost.get(host) ?? { host, devices: 0, usedBytes: 0, totalBytes: 0 }
    byHost.set(host, {
      host,
      devices: sum.devices + 1,
      usedBytes: sum.usedBytes + (usedBytes ?? 0),
      totalBytes: sum.totalBytes + (totalBytes ?? 0),
    })
  }
  return [...byHost.values()]
}

function writeSummary(rows: readonly HostSummary[], out: Output): Promise<void> {
  return out.table(
    [
      { title: 'HOST', shrink: true },
      { title: 'DEVICES', right: true },
      { title: 'USED', right: true },
      { title: 'FREE', right: true },
      { title: 'SIZE', right: true },
      { title: 'FULL', right: true },
    ],
    rows.map(({ host, devices, usedBytes, totalBytes }) => [
      host,
      String(devices),
      formatBytes(usedBytes),
      formatBytes(totalBytes - usedBytes),
      formatBytes(totalBytes),
      totalBytes === 0 ? '-' : `${Math.round((100 * usedBytes) / totalBytes)}%`,
    ]),
  )
}
