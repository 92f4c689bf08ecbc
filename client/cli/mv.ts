/** `omg mv`: a file gets another key. */
import type { Command } from 'commander'
import { addressOf, checkFileKey, isFolder, lastPart, parseFile, splitAddress } from './address.ts'
import type { Cli } from './command.ts'
import { UsageError } from './failure.ts'
import type { ConnectionOptions } from './session.ts'

/** Adds the command. */
export function addMv(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'mv',
      'rename a file within its domain; never replaces another file',
      'the FileInfo',
    )
    .argument('<DOMAIN:FROM>')
    .argument('<[DOMAIN:]TO>', 'the new key; if it ends with /, the folder to move the file into')
  command.action((from: string, to: string, options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      const source = parseFile(from)
      const target = targetOf(to, source)
      const { api, out, json, signal } = session
      const file = await api.rename(source, target, { signal })
      if (json) await out.json(file)
      else await out.write(`${addressOf({ domain: source.domain, key: target })}\n`)
    }),
  )
}

function targetOf(to: string, { domain, key }: { domain: string; key: string }): string {
  const address = splitAddress(to)
  if (address && address.domain !== domain) {
    throw new UsageError(
      `${JSON.stringify(to)} is not in ${JSON.stringify(domain)}: mv works within one domain`,
    )
  }
  if (to === '' || to.startsWith(':')) {
    throw new UsageError(`${JSON.stringify(to)} is neither KEY nor DOMAIN:KEY`)
  }
  const given = address?.key ?? to
  const target = isFolder(given) ? given + lastPart(key) : given
  checkFileKey(target, to)
  return target
}
