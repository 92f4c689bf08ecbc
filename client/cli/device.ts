/** `omg device`: the disks of the hosts. */
import type { Command } from 'commander'
import type { ChangeDevice, DeviceInfo, DeviceStatus } from '../../common/protocol.ts'
import { choice, wholeNumber, type Cli } from './command.ts'
import { confirm } from './confirm.ts'
import { CommandFailure, UsageError } from './failure.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, formatTable } from './text.ts'

const statuses: readonly DeviceStatus[] = ['alive', 'readonly', 'drain', 'down', 'dead']

interface Options extends ConnectionOptions {
  readonly status?: DeviceStatus
  readonly weight?: number
  readonly yes?: boolean
}

/** Adds the commands. Where a device is named its host may stand before it, as in `mogadm`. */
export function addDevice(program: Command, cli: Cli): void {
  const group = program.command('device').alias('devices').description('the disks of the hosts')

  const list = cli.online(group, 'list', 'show them').alias('ls')
  list.action((options: ConnectionOptions) =>
    cli.run(list, options, async ({ api, signal, out, json }) => {
      const devices = await api.listDevices({ signal })
      if (json) await out.json(devices)
      else await out.write(deviceTable(devices))
    }),
  )

  const add = withFields(cli.online(group, 'add', 'register one, by the number in its name: dev5'))
    .argument('<HOST>')
    .argument('<DEVID>')
  add.action((host: string, id: string, options: Options) =>
    cli.run(add, options, async session => {
      const fields = { ...changeOf(options), host, devid: parseDevid(id) }
      await show(await session.api.createDevice(fields, { signal: session.signal }), session)
    }),
  )

  const mark = cli
    .online(group, 'mark', `change the status: ${statuses.join(', ')}`)
    .usage('[options] [HOST] DEVID STATUS')
    .argument('<word...>')
    .option('--yes', 'do not ask')
  mark.action((words: string[], options: Options) =>
    cli.run(mark, options, async session => {
      const status = statuses.find(one => one === words.at(-1))
      if (!status) throw new UsageError(`the status is one of ${statuses.join(', ')}`)
      await change({ words: words.slice(0, -1), change: { status }, yes: options.yes }, session)
    }),
  )

  const modify = withFields(cli.online(group, 'modify', 'change what is named'))
    .usage('[options] [HOST] DEVID')
    .argument('<word...>')
    .option('--yes', 'do not ask')
  modify.action((words: string[], options: Options) =>
    cli.run(modify, options, async session => {
      const wanted = changeOf(options)
      if (Object.keys(wanted).length === 0) throw new UsageError('name what to change')
      await change({ words, change: wanted, yes: options.yes }, session)
    }),
  )
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

function parseDevid(text: string): number {
  const devid = Number(/^(?:dev)?(\d{1,10})$/.exec(text)?.[1] ?? 0)
  if (devid >= 1 && devid < 2 ** 31) return devid
  throw new UsageError(`${JSON.stringify(text)} is no number of a device: 5 or dev5`)
}

async function change(
  {
    words,
    change: wanted,
    yes,
  }: { words: readonly string[]; change: ChangeDevice; yes: boolean | undefined },
  session: Session,
): Promise<void> {
  const [id, host] = words.toReversed()
  if (id === undefined || words.length > 2) throw new UsageError('name one device')
  const devid = parseDevid(id)
  if (wanted.status === 'dead') {
    await confirm(session, { what: `give up all copies on dev${devid}`, yes })
  }
  const { api, signal } = session
  if (host !== undefined) {
    const found = (await api.listDevices({ signal })).find(device => device.devid === devid)
    if (found && found.host !== host) {
      throw new CommandFailure(`dev${devid} is in ${found.host}, not in ${host}`)
    }
  }
  await show(await api.changeDevice(devid, wanted, { signal }), session)
}

async function show(device: DeviceInfo, { out, json }: Session): Promise<void> {
  if (json) await out.json(device)
  else await out.write(deviceTable([device]))
}

function deviceTable(devices: readonly DeviceInfo[]): string {
  const size = (bytes: number | null): string => (bytes === null ? '-' : formatBytes(bytes))
  return formatTable(
    [
      { title: 'DEVICE' },
      { title: 'HOST' },
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
      size(usedBytes),
      size(totalBytes === null || usedBytes === null ? null : totalBytes - usedBytes),
      size(totalBytes),
    ]),
  )
}
