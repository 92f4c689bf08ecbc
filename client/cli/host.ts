/** `omg host`: the hosts, which are machines that run a storage node. */
import type { Command } from 'commander'
import { formatAddress } from '../../common/address.ts'
import type { ChangeHost, HostInfo, HostStatus } from '../../common/protocol/configuration.ts'
import { changed, choice, oneOf, wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, rehearsed, type DestructiveOptions } from './confirm.ts'
import type { Output } from './output.ts'
import { resolveAddress } from './resolve.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { printable } from './text.ts'

/** The statuses that an administrator can give a host. */
export const hostStatuses: readonly HostStatus[] = ['alive', 'readonly', 'down', 'dead']

interface FieldOptions extends DestructiveOptions {
  readonly ip?: string
  readonly port?: number
  readonly getport?: number | null
  readonly altip?: string
  readonly altmask?: string
  readonly zone?: string
  readonly status?: HostStatus
}

/** Adds the commands. */
export function addHost(program: Command, cli: Cli): void {
  const group = program
    .command('host')
    .alias('hosts')
    .description('manage hosts: machines that run a storage node')
  addList(group, cli)
  addAdd(group, cli)
  addModify(group, cli)
  addMark(group, cli)
  addDelete(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = cli.online(group, 'list', 'list the hosts', 'an array of HostInfo').alias('ls')
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const hosts = await api.listHosts({ signal })
      if (json) await out.json(hosts)
      else await writeHosts(hosts, out)
    }),
  )
}

function addAdd(group: Command, cli: Cli): void {
  const command = withFields(
    cli.online(
      group,
      'add',
      'register a host; omg node add also registers its devices',
      'the HostInfo',
    ),
  ).argument('<NAME>')
  command.action((name: string, options: FieldOptions) =>
    cli.run(command, options, async session => {
      const { api, signal } = session
      const ip = options.ip ?? (await resolveAddress(name))
      const fields = { ...fieldsOf(options), name, ip, port: options.port ?? 7500 }
      await show(await api.createHost(fields, { signal }), session)
    }),
  )
}

function addModify(group: Command, cli: Cli): void {
  const command = destroys(
    withFields(
      cli.online(
        group,
        'modify',
        'change a host; an empty value clears, what is not given stays',
        'the HostInfo',
      ),
    ),
  ).argument('<NAME>')
  command.action((name: string, options: FieldOptions) =>
    cli.run(command, options, session =>
      changeHost({ name, change: changed(fieldsOf(options)), options }, session),
    ),
  )
}

function addMark(group: Command, cli: Cli): void {
  const command = destroys(cli.online(group, 'mark', 'set the status of a host', 'the HostInfo'))
    .argument('<NAME>')
    .argument('<STATUS>', hostStatuses.join(', '), oneOf(hostStatuses))
  command.action((name: string, status: HostStatus, options: DestructiveOptions) =>
    cli.run(command, options, session =>
      changeHost({ name, change: { status }, options }, session),
    ),
  )
}

function addDelete(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(group, 'delete', 'delete a host that has no devices', '{ name }'),
  )
    .alias('rm')
    .argument('<NAME>')
  command.action((name: string, options: DestructiveOptions) =>
    cli.run(command, options, async session => {
      const { api, signal, out, json } = session
      const change = { action: 'host.delete', host: name } as const
      if (await rehearsed(`delete host ${printable(name)}`, options, session, change)) return
      await api.deleteHost(name, { signal })
      if (json) await out.json({ name })
      else await out.write(`${printable(name)}  deleted\n`)
    }),
  )
}

function withFields(command: Command): Command {
  return command
    .option('--ip <ADDRESS>', 'address of its storage node; else what NAME resolves to')
    .option('--port <PORT>', 'port of its storage node; else 7500', wholeNumber(1, 65535))
    .option('--getport <PORT>', 'port for reading, where that is another one', optionalPort)
    .option('--altip <ADDRESS>', 'address for clients in the network --altmask')
    .option('--altmask <NETWORK>', 'network whose clients get --altip, such as 10.0.0.0/8')
    .option('--zone <NAME>', 'what fails together with it: a rack, a room')
    .addOption(choice('--status <STATUS>', 'status; a new host is down by default', hostStatuses))
}

const optionalPort = (text: string): number | null =>
  text === '' ? null : wholeNumber(1, 65535)(text)

function fieldsOf({ ip, port, getport, altip, altmask, zone, status }: FieldOptions): ChangeHost {
  return {
    ...(ip !== undefined && { ip }),
    ...(port !== undefined && { port }),
    ...(getport !== undefined && { getPort: getport }),
    ...(altip !== undefined && { altip: altip || null }),
    ...(altmask !== undefined && { altmask: altmask || null }),
    ...(zone !== undefined && { zone: zone || null }),
    ...(status !== undefined && { status }),
  }
}

/** Changes a host. Asks before one is marked dead. */
async function changeHost(
  { name, change, options }: { name: string; change: ChangeHost; options: DestructiveOptions },
  session: Session,
): Promise<void> {
  const isFatal = change.status === 'dead'
  const what = isFatal
    ? `stop reading and writing what is on ${printable(name)}`
    : `change host ${printable(name)}`
  const rehearsal = { action: 'host.change', host: name, change } as const
  if (await rehearsed(what, options, session, rehearsal)) return
  if (isFatal) await mayDestroy(what, options, session, rehearsal)
  await show(await session.api.changeHost(name, change, { signal: session.signal }), session)
}

async function show(host: HostInfo, { out, json }: Session): Promise<void> {
  if (json) await out.json(host)
  else await writeHosts([host], out)
}

function writeHosts(hosts: readonly HostInfo[], out: Output): Promise<void> {
  const shrinking: ReadonlySet<string> = new Set(['NAME', 'ADDRESS', 'ALTIP', 'ALTMASK', 'ZONE'])
  return out.table(
    ['ID', 'NAME', 'STATUS', 'SEEN', 'ADDRESS', 'GETPORT', 'ALTIP', 'ALTMASK', 'ZONE'].map(
      title => ({ title, shrink: shrinking.has(title) }),
    ),
    hosts.map(host => [
      String(host.id),
      host.name,
      host.status,
      host.observed,
      formatAddress({ host: host.ip, port: host.port }),
      host.getPort === null ? '-' : String(host.getPort),
      host.altip ?? '-',
      host.altmask ?? '-',
      host.zone ?? '-',
    ]),
  )
}
