/** `omg mv`: another key for a file. */
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
      'give a file another key in its domain; nothing is ever replaced',
      'the FileInfo',
    )
    .argument('<DOMAIN:FROM>')
    .argument('<[DOMAIN:]TO>', 'the new key; one that ends with / is a folder to move it into')
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
      `${JSON.stringify(to)} is not in ${JSON.stringify(domain)}: a file stays in its domain`,
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
