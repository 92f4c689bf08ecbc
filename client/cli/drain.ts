/** `omg drain`: devices and hosts emptied, so that they can be taken away. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import type { DrainList } from '../../common/protocol/upkeep.ts'
import type { Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import type { Output } from './output.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, plural, printable } from './text.ts'

interface Options extends DestructiveOptions {
  readonly wait?: boolean
}

/** Milliseconds between two looks at how far it is. */
const pollMs = 2_000

/** Adds the commands. A device is `5` or `dev5`; everything else is the name of a host. */
export function addDrain(program: Command, cli: Cli): void {
  const group = program
    .command('drain')
    .description('empty devices and hosts, so that they can be taken away')

  const list = cli
    .online(
      group,
      'list',
      'show those that are to be emptied, and how far that is',
      'the DrainList',
    )
    .aliases(['ls', 'status'])
  list.action((options: ConnectionOptions) =>
    cli.run(list, options, async ({ api, signal, out, json }) => {
      const drains = await api.listDrains({ signal })
      if (json) await out.json(drains)
      else await writeDrains(drains, out)
    }),
  )

  const start = destroys(
    cli.online(group, 'start', 'begin: it gets no new files, its own move away', 'the DrainList'),
  )
    .argument('<DEVID|HOST>')
    .option('--wait', 'until it is empty')
  start.action((what: string, options: Options) =>
    cli.run(start, options, async session => {
      const { api, signal, out, json } = session
      const devid = devidOf(what)
      if (options.dryRun) {
        const change =
          devid === undefined
            ? ({ action: 'host.drain', host: what } as const)
            : ({ action: 'device.drain', devid } as const)
        await mayDestroy(`move all files off ${printable(what)}`, options, session, change)
        return
      }
      if (devid === undefined) await api.drainHost(what, { signal })
      else await api.drainDevice(devid, { signal })
      const mine = (drains: DrainList): DrainList =>
        drains.filter(one => (devid === undefined ? one.host === what : one.devid === devid))
      let drains = mine(await api.listDrains({ signal }))
      while (options.wait && drains.some(({ empty }) => !empty)) {
        await sleep(pollMs, undefined, { signal })
        drains = mine(await api.listDrains({ signal }))
        out.note(progressOf(drains))
      }
      if (json) await out.json(drains)
      else await writeDrains(drains, out)
    }),
  )

  const stop = cli
    .online(group, 'stop', 'leave it as it is and use it again', 'the DrainList')
    .argument('<DEVID|HOST>')
  stop.action((what: string, options: ConnectionOptions) =>
    cli.run(stop, options, async (session: Session) => {
      const { api, signal, out, json } = session
      const devid = devidOf(what)
      if (devid === undefined) await api.undrainHost(what, { signal })
      else await api.undrainDevice(devid, { signal })
      const drains = await api.listDrains({ signal })
      if (json) await out.json(drains)
      else {
        const name = devid === undefined ? printable(what) : `dev${devid}`
        await out.write(`${name}  in use again\n`)
      }
    }),
  )
}

function devidOf(text: string): number | undefined {
  const digits = /^(?:dev)?(\d{1,9})$/.exec(text)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

function progressOf(drains: DrainList): string {
  const files = drains.reduce((sum, one) => sum + one.files, 0)
  const bytes = drains.reduce((sum, one) => sum + one.bytes, 0)
  const uploads = drains.reduce((sum, one) => sum + one.uploads, 0)
  if (files === 0 && uploads === 0) return 'no file is left; every tracker is to know first'
  const open = uploads > 0 ? `, ${plural(uploads, 'open upload')} to wait for` : ''
  return `${plural(files, 'file')}, ${formatBytes(bytes)} to go${open}`
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
