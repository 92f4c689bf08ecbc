/** `omg mv`: another key for a file. */
import type { Command } from 'commander'
import { checkFileKey, isFolder, lastPart, parseFile } from './address.ts'
import type { Cli } from './command.ts'
import { UsageError } from './failure.ts'
import type { ConnectionOptions } from './session.ts'
import { printable } from './text.ts'

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
      else await out.write(`${printable(source.domain)}:${printable(target)}\n`)
    }),
  )
}

function targetOf(to: string, { domain, key }: { domain: string; key: string }): string {
  const colon = to.indexOf(':')
  if (colon >= 0 && to.slice(0, colon) !== domain) {
    throw new UsageError(
      `${JSON.stringify(to)} is not in ${JSON.stringify(domain)}: a file stays in its domain`,
    )
  }
  const given = to.slice(colon + 1)
  const target = isFolder(given) ? given + lastPart(key) : given
  checkFileKey(target, to)
  return target
}
