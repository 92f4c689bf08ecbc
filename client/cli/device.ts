/** `omg device`: the disks of the hosts. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { CodedError } from '../../common/errors.ts'
import type { ChangeDevice, DeviceInfo, DeviceStatus } from '../../common/protocol/configuration.ts'
import { choice, wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { CommandFailure, UsageError } from './failure.ts'
import type { Output } from './output.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes } from './text.ts'

const statuses: readonly DeviceStatus[] = ['alive', 'readonly', 'drain', 'down', 'dead']

interface Options extends DestructiveOptions {
  readonly status?: DeviceStatus
  readonly weight?: number
}

/** Adds the commands. Where a device is named its host may stand before it, as in `mogadm`. */
export function addDevice(program: Command, cli: Cli): void {
  const group = program.command('device').alias('devices').description('the disks of the hosts')

  const list = withHost(cli.online(group, 'list', 'show them', 'an array of DeviceInfo'))
    .alias('ls')
    .addOption(new Option('--all', 'dead ones too, which are shown anyway').hideHelp())
  list.action((options: HostOptions) =>
    cli.run(list, options, async session => {
      const { out, json } = session
      const devices = await devicesOf(options, session)
      if (json) await out.json(devices)
      else await writeDevices(devices, out)
    }),
  )

  const summary = withHost(
    cli.online(
      group,
      'summary',
      'show how full the hosts are',
      'an array of { host, devices, usedBytes, totalBytes }',
    ),
  ).option('--status <LIST>', 'devices that count, by their status', statusList, [
    'alive',
    'readonly',
    'drain',
  ])
  summary.action((options: HostOptions & { readonly status: readonly DeviceStatus[] }) =>
    cli.run(summary, options, async session => {
      const { out, json } = session
      const devices = await devicesOf(options, session)
      const rows = summarize(devices.filter(({ status }) => options.status.includes(status)))
      if (json) await out.json(rows)
      else await writeSummary(rows, out)
    }),
  )

  const next = cli.online(
    group,
    'next',
    'print a number that no device has had, for a new one',
    '{ devid }',
  )
  next.action((options: ConnectionOptions) =>
    cli.run(next, options, async ({ api, signal, out, json }) => {
      const devices = await api.listDevices({ signal })
      const devid = devices.reduce((highest, one) => Math.max(highest, one.devid), 0) + 1
      if (json) await out.json({ devid })
      else await out.write(`${devid}\n`)
    }),
  )

  const add = withFields(
    cli.online(group, 'add', 'register one, by the number in its name: dev5', 'the DeviceInfo'),
  )
    .argument('<HOST>')
    .argument('<DEVID>')
  add.action((host: string, id: string, options: Options) =>
    cli.run(add, options, async session => {
      const fields = { ...changeOf(options), host, devid: parseDevid(id) }
      await show(await session.api.createDevice(fields, { signal: session.signal }), session)
    }),
  )

  const mark = destroys(
    cli.online(group, 'mark', `change the status: ${statuses.join(', ')}`, 'the DeviceInfo'),
  )
    .usage('[options] [HOST] DEVID STATUS')
    .argument('<word...>')
  mark.action((words: string[], options: Options) =>
    cli.run(mark, options, async session => {
      const status = statuses.find(one => one === words.at(-1))
      if (!status) throw new UsageError(`the status is one of ${statuses.join(', ')}`)
      await change({ words: words.slice(0, -1), change: { status }, options }, session)
    }),
  )

  const modify = destroys(
    withFields(cli.online(group, 'modify', 'change what is named', 'the DeviceInfo')),
  )
    .usage('[options] [HOST] DEVID')
    .argument('<word...>')
  modify.action((words: string[], options: Options) =>
    cli.run(modify, options, async session => {
      const wanted = changeOf(options)
      if (Object.keys(wanted).length === 0) throw new UsageError('name what to change')
      await change({ words, change: wanted, options }, session)
    }),
  )
}

interface HostOptions extends ConnectionOptions {
  readonly host?: string
  /** The same, as `mogadm` spells it. */
  readonly hostname?: string
}

const withHost = (command: Command): Command =>
  command
    .option('--host <NAME>', 'only those of one host')
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
    if (!status) throw new InvalidArgumentError(`It must be some of ${statuses.join(',')}.`)
    return status
  })
}

function withFields(command: Command): Command {
  return command
    .addOption(choice('--status <STATUS>', 'what it is used for', statuses))
    .option('--weight <N>', 'share of new files, against 100 of others', wholeNumber(0, 1_000_000))
}

const changeOf = ({ status, weight }: Options): ChangeDevice => ({
  ...(status !== undefined && { status }),
  ...(weight !== undefined && { weight }),
})

/** Reads `5` or `dev5`. Throws UsageError. */
export function parseDevid(text: string): number {
  const devid = Number(/^(?:dev)?(\d{1,10})$/.exec(text)?.[1] ?? 0)
  if (devid >= 1 && devid < 2 ** 31) return devid
  throw new UsageError(`${JSON.stringify(text)} is no number of a device: 5 or dev5`)
}

async function change(
  {
    words,
    change: wanted,
    options,
  }: { words: readonly string[]; change: ChangeDevice; options: DestructiveOptions },
  session: Session,
): Promise<void> {
  const [id, host] = words.toReversed()
  if (id === undefined || words.length > 2) throw new UsageError('name one device')
  const devid = parseDevid(id)
  const { api, signal } = session
  const fatal = wanted.status === 'dead'
  const what = fatal ? `give up all copies on dev${devid}` : `change dev${devid}`
  const checkHost = async (): Promise<void> => {
    if (host === undefined) return
    const found = await getDevice(devid, session)
    if (found.host === host) return
    throw new CommandFailure(`dev${devid} is in ${found.host}, not in ${host}`)
  }
  if (options.dryRun) await checkHost()
  if (options.dryRun || fatal) {
    const rehearsal = { action: 'device.change', devid, change: wanted } as const
    if (!(await mayDestroy(what, options, session, rehearsal))) return
  }
  await checkHost()
  await show(await api.changeDevice(devid, wanted, { signal }), session)
}

/** One of them. Throws no_device. */
async function getDevice(devid: number, { api, signal }: Session): Promise<DeviceInfo> {
  const device = (await api.listDevices({ signal })).find(one => one.devid === devid)
  if (!device) throw new CodedError('no_device', `no device ${devid}`)
  return device
}

async function show(device: DeviceInfo, { out, json }: Session): Promise<void> {
  if (json) await out.json(device)
  else await writeDevices([device], out)
}

const sizeText = (bytes: number | null): string => (bytes === null ? '-' : formatBytes(bytes))

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
      sizeText(usedBytes),
      sizeText(totalBytes === null || usedBytes === null ? null : totalBytes - usedBytes),
      sizeText(totalBytes),
    ]),
  )
}

interface HostSummary {
  readonly host: string
  readonly devices: number
  readonly usedBytes: number
  readonly totalBytes: number
}

/** Sums by host, over the devices that have reported. */
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
