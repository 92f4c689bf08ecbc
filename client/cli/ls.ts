/** `omg ls`: the keys of a domain. */
import type { Command } from 'commander'
import type { FileEntry, PrefixEntry } from '../entries.ts'
import { parseAddress } from './address.ts'
import type { Cli } from './command.ts'
import { fileToJson } from './output.ts'
import type { ConnectionOptions } from './session.ts'
import { printableKey } from './text.ts'

interface Options extends ConnectionOptions {
  readonly long?: boolean
  readonly recursive?: boolean
}

/** Lines that are written with one system call. */
const linesAtOnce = 500

/** Adds the command. */
export function addLs(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'ls',
      'list the keys that begin with PREFIX, each up to its next /, like one level of folders',
      'one FileInfo per line; a folder is { prefix }',
    )
    .argument('<DOMAIN:[PREFIX]>')
    .option('-l, --long', 'also show size in bytes, time, number of copies and class')
    .option('-r, --recursive', 'list all keys, also those below folders')
  command.action((address: string, options: Options) =>
    cli.run(command, options, async ({ client, out, json, signal }) => {
      const { domain, key: prefix } = parseAddress(address)
      const line = json ? jsonLine : options.long ? longLine : nameOf
      const files = client(domain)
      const entries: AsyncIterable<FileEntry | PrefixEntry> = options.recursive
        ? files.list({ prefix, signal })
        : files.list({ prefix, signal, delimiter: '/' })
      let lines: string[] = []
      for await (const entry of entries) {
        lines.push(line(entry))
        if (lines.length < linesAtOnce) continue
        await out.lines(lines)
        lines = []
      }
      await out.lines(lines)
    }),
  )
}

const nameOf = (entry: FileEntry | PrefixEntry): string =>
  'prefix' in entry
    ? printableKey({ key: entry.prefix, keyBytes: entry.prefixBytes })
    : printableKey(entry)

function longLine(entry: FileEntry | PrefixEntry): string {
  const columns =
    'prefix' in entry
      ? ['-'.padStart(13), '-'.padEnd(20), ' -', '-'.padEnd(10)]
      : [
          String(entry.size).padStart(13),
          `${entry.modifiedAt.toISOString().slice(0, 19)}Z`,
          String(entry.devids.length).padStart(2),
          entry.class.padEnd(10),
        ]
  return `${columns.join('  ')}  ${nameOf(entry)}`
}

/** A file in the JSON shape of the tracker's API, or a folder as `{ prefix }`. */
function jsonLine(entry: FileEntry | PrefixEntry): string {
  if (!('prefix' in entry)) return JSON.stringify(fileToJson(entry))
  const { prefix, prefixBytes } = entry
  return JSON.stringify({
    prefix,
    ...(prefixBytes && { prefixBytes: Buffer.from(prefixBytes).toString('base64url') }),
  })
}
