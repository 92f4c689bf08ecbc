/** `omg why`: the state of a file and its copies, explained in one paragraph. */
import type { Command } from 'commander'
import { CodedError } from '../../common/errors.ts'
import { parseFile } from './address.ts'
import type { Cli } from './command.ts'
import { lookAtCopies } from './debug.ts'
import { explain } from './explain.ts'
import { reserveOf } from './reserve.ts'
import type { ConnectionOptions } from './session.ts'
import { wrap } from './text.ts'

/** Adds the command. */
export function addWhy(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'why',
      'explain where the copies of a file are, how many it should have, and what is in the way',
      '{ well, text, wanted?, good, blocked, file: FileInfo, copies }',
    )
    .argument('<DOMAIN:KEY>')
  command.action((address: string, options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json, host }) => {
      const ref = parseFile(address)
      const [traces, classes, devices, hosts, status, settings] = await Promise.all([
        api.debugFile(ref, { signal }),
        api.listClasses(ref.domain, { signal }),
        api.listDevices({ signal }),
        api.listHosts({ signal }),
        api.status({ signal }),
        api.listSettings({ signal }),
      ])
      const { file } = traces
      if (!file) throw new CodedError('unknown_key', `${address} has just been deleted`)
      const copies = await lookAtCopies(traces, { fetch: false, signal })
      const explanation = explain({
        file,
        traces,
        copies: file.devids.map(
          devid =>
            copies.find(copy => copy.devid === devid) ?? {
              devid,
              state: 'unreadable',
              error: 'its host is not known',
            },
        ),
        rule: classes.find(({ name }) => name === file.class),
        devices,
        hosts,
        reserve: reserveOf(settings),
        lastError: status.queues.replicate.lastError,
      })
      if (json) await out.json({ ...explanation, file, copies })
      else await out.write(wrap(explanation.text, host.stdout.columns || 80))
    }),
  )
}
