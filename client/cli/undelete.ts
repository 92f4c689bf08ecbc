/** `omg undelete`: a deleted file restored, as long as it is in the trash of its domain. */
import type { Command } from 'commander'
import { isCoded } from '../../common/errors.ts'
import { parseFile } from './address.ts'
import { wholeNumber, type Cli } from './command.ts'
import { outcomeOf, ToldFailure } from './failure.ts'
import type { ConnectionOptions } from './session.ts'
import { writeFile } from './stat.ts'

interface Options extends ConnectionOptions {
  readonly fid?: number
}

/** Adds the command. */
export function addUndelete(program: Command, cli: Cli): void {
  const command = cli
    .online(program, 'undelete', 'restore a deleted file under its key', 'the FileInfo')
    .argument('<DOMAIN:KEY>')
    .option(
      '--fid <FID>',
      'which content to restore, as omg trash list shows them; else the last one',
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
    )
  command.action((address: string, options: Options) =>
    cli.run(command, options, async session => {
      const { api, signal, out } = session
      const file = { ...parseFile(address), fid: options.fid }
      const restored = await api.undelete(file, { signal }).catch((err: unknown) => {
        if (!isCoded(err, 'unknown_key')) throw err
        // The usual hint, to list the keys of the domain, would not show what is in the trash.
        out.note(`${err.code}: ${err.message} (omg trash list shows what can be restored)`)
        throw new ToldFailure(outcomeOf(err).status)
      })
      await writeFile(restored, session)
    }),
  )
}
