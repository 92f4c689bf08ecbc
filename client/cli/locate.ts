/** `omg locate`: the URLs under which a file can be read. */
import type { Command } from 'commander'
import { parseFile } from './address.ts'
import type { Cli } from './command.ts'
import { CommandFailure } from './failure.ts'
import type { ConnectionOptions } from './session.ts'

/** Adds the command. */
export function addLocate(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'locate',
      'print the URLs of the copies, best first; anybody who has one can read the file for a while',
      'the Located',
    )
    .argument('<DOMAIN:KEY>')
  command.action((address: string, options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      const ref = parseFile(address)
      const { api, out, json, signal } = session
      const located = await api.locate(ref, { signal })
      if (json) return out.json(located)
      if (located.urls.length === 0) {
        throw new CommandFailure('no copy can be read now (omg why explains the reason)')
      }
      await out.write(located.urls.map(url => `${url}\n`).join(''))
    }),
  )
}
