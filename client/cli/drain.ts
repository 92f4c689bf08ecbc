/** `omg drain`: emptying devices and hosts, so that they can be removed. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { DrainList } from '../../common/protocol/upkeep.ts'
import type { Cli } from './command.ts'
import { destroys, rehearsed, type DestructiveOptions } from './confirm.ts'
import { readDevid } from './devid.ts'
import type { Output } from './output.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, plural, printable } from './text.ts'

interface StartOptions extends DestructiveOptions {
  readonly wait?: boolean
}

/** Milliseconds between two looks at the progress. */
const pollMs = 2_000

/** Adds the commands. `5` and `dev5` name a device; everything else is the name of a host. */
export function addDrain(program: Command, cli: Cli): void {
  const group = program
    .command('drain')
    .description('empty devices and hosts, so that they can be removed')
  addList(group, cli)
  addStart(group, cli)
  addStop(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'list', 'list the devices being emptied, and how far each is', 'the DrainList')
    .aliases(['ls', 'status'])
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session => show(await drainsOf(undefined, session), session)),
  )
}

function addStart(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(
      group,
      'start',
      'begin to empty a device or a host: it gets no new files, and its files move elsewhere',
      'the DrainList',
    ),
  )
    .argument('<DEVID|HOST>')
    .option('--wait', 'wait until it is empty')
  command.action((name: string, options: StartOptions) =>
    cli.run(command, options, async session => {
      const { api, signal, out } = session
      const devid = readDevid(name)
      const change =
        devid === undefined
          ? ({ action: 'host.drain', host: name } as const)
          : ({ action: 'device.drain', devid } as const)
      const what = `move all files off ${printable(name)}`
      if (await rehearsed(what, options, session, change)) return
      if (devid === undefined) await api.drainHost(name, { signal })
      else await api.drainDevice(devid, { signal })
      let drains = await drainsOf(name, session)
      while (options.wait && drains.some(({ empty }) => !empty)) {
        await sleep(pollMs, undefined, { signal })
        drains = await drainsOf(name, session)
        out.note(progressOf(drains))
      }
      await show(drains, session)
    }),
  )
}

function addStop(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'stop', 'stop emptying a device or a host, and use it again', 'the DrainList')
    .argument('<DEVID|HOST>')
  command.action((name: string, options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      const { api, signal, out, json } = session
      const devid = readDevid(name)
      if (devid === undefined) await api.undrainHost(name, { signal })
      else await api.undrainDevice(devid, { signal })
      if (json) return out.json(await drainsOf(undefined, session))
      await out.write(`${devid === undefined ? printable(name) : `dev${devid}`}  in use again\n`)
    }),
  )
}

/** The drains of one device or host, or all of them. */
async function drainsOf(name: string | undefined, { api, signal }: Session): Promise<DrainList> {
  const drains = await api.listDrains({ signal })
  if (name === undefined) return drains
  const devid = readDevid(name)
  return drains.filter(one => (devid === undefined ? one.host === name : one.devid === devid))
}

function progressOf(drains: DrainList): string {
  const files = drains.reduce((sum, one) => sum + one.files, 0)
  const bytes = drains.reduce((sum, one) => sum + one.bytes, 0)
  const uploads = drains.reduce((sum, one) => sum + one.uploads, 0)
  if (files === 0 && uploads === 0) return 'no file is left; waiting until every tracker knows'
  const open = uploads > 0 ? `, ${plural(uploads, 'open upload')} to wait for` : ''
  return `${plural(files, 'file')}, ${formatBytes(bytes)} to go${open}`
}

async function show(drains: DrainList, { out, json }: Session): Promise<void> {
  if (json) await out.json(drains)
  else await writeDrains(drains, out)
}

function writeDrains(drains: DrainList, out: Output): Promise<void> {
  return out.table(
    [
      { title: 'DEVICE' },
      { title: 'HOST', shrink: true },
      { title: 'FILES', right: true },
      { title: 'SIZE', right: true },
      { title: 'UPLOADS', right: true },
      { title: 'TRASH', right: true },
      { title: 'EMPTY' },
      { title: 'LAST ERROR', shrink: true },
    ],
    drains.map(({ devid, host, files, bytes, uploads, trash, empty, lastError }) => [
      `dev${devid}`,
      host,
      String(files),
      formatBytes(bytes),
      String(uploads),
      String(trash),
      empty ? 'yes' : 'no',
      lastError ?? '-',
    ]),
  )
}
