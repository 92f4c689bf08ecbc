/** `omg host`: the machines with storage. */
import type { Command } from 'commander'
import { formatAddress } from '../../common/address.ts'
import type { ChangeHost, HostInfo, HostStatus } from '../../common/protocol/configuration.ts'
import { choice, oneOf, wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { UsageError } from './failure.ts'
import type { Output } from './output.ts'
import { resolveAddress } from './resolve.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { printable } from './text.ts'

/** What a host can be, as configured. */
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
  const group = program.command('host').alias('hosts').description('the machines with storage')

  const list = cli.online(group, 'list', 'show them', 'an array of HostInfo').alias('ls')
  list.action((options: ConnectionOptions) =>
    cli.run(list, options, async ({ api, signal, out, json }) => {
      const hosts = await api.listHosts({ signal })
      if (json) await out.json(hosts)
      else await writeHosts(hosts, out)
    }),
  )

  const add = withFields(
    cli.online(
      group,
      'add',
      'register one; omg node add also asks it for its devices',
      'the HostInfo',
    ),
  ).argument('<NAME>')
  add.action((name: string, options: FieldOptions) =>
    cli.run(add, options, async session => {
      const { api, signal } = session
      const ip = options.ip ?? (await resolveAddress(name))
      const fields = { ...fieldsOf(options), name, ip, port: options.port ?? 7500 }
      await show(await api.createHost(fields, { signal }), session)
    }),
  )

  const modify = destroys(
    withFields(
      cli.online(group, 'modify', 'change what is named; empty text clears', 'the HostInfo'),
    ),
  ).argument('<NAME>')
  modify.action((name: string, options: FieldOptions) =>
    cli.run(modify, options, async session => {
      const change = fieldsOf(options)
      if (Object.keys(change).length === 0) throw new UsageError('name what to change')
      await changeHost({ name, change, options }, session)
    }),
  )

  const mark = destroys(cli.online(group, 'mark', 'change the status', 'the HostInfo'))
    .argument('<NAME>')
    .argument('<STATUS>', hostStatuses.join(', '), oneOf(hostStatuses))
  mark.action((name: string, status: HostStatus, options: FieldOptions) =>
    cli.run(mark, options, session => changeHost({ name, change: { status }, options }, session)),
  )

  const remove = destroys(cli.online(group, 'delete', 'remove one that has no devices', '{ name }'))
    .alias('rm')
    .argument('<NAME>')
  remove.action((name: string, options: DestructiveOptions) =>
    cli.run(remove, options, async session => {
      const { api, signal, out, json } = session
      if (options.dryRun) {
        const change = { action: 'host.delete', host: name } as const
        await mayDestroy(`delete host ${printable(name)}`, options, session, change)
        return
      }
      await api.deleteHost(name, { signal })
      if (json) await out.json({ name })
      else await out.write(`${printable(name)}  deleted\n`)
    }),
  )
}

function withFields(command: Command): Command {
  return command
    .option('--ip <ADDRESS>', 'where its storage node listens; else what NAME resolves to')
    .option('--port <PORT>', 'port of its storage node; 7500', wholeNumber(1, 65535))
    .option('--getport <PORT>', 'port for reading, where that is another', optionalPort)
    .option('--altip <ADDRESS>', 'address for clients in --altmask')
    .option('--altmask <NETWORK>', 'whose clients get --altip: 10.0.0.0/8')
    .option('--zone <NAME>', 'what fails together: a rack, a room')
    .addOption(choice('--status <STATUS>', 'a new one is down unless told', hostStatuses))
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

async function changeHost(
  { name, change, options }: { name: string; change: ChangeHost; options: DestructiveOptions },
  session: Session,
): Promise<void> {
  if (options.dryRun || change.status === 'dead') {
    const what =
      change.status === 'dead'
        ? `stop reading and writing what is on ${printable(name)}`
        : `change host ${printable(name)}`
    const rehearsal = { action: 'host.change', host: name, change } as const
    if (!(await mayDestroy(what, options, session, rehearsal))) return
  }
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
