/** `omg stat`: the attributes of a file. */
import type { Command } from 'commander'
import type { FileInfo } from '../../common/protocol/files.ts'
import { parseFile } from './address.ts'
import type { Cli } from './command.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { deviceNames, formatBytes, printable } from './text.ts'

/** Adds the command. */
export function addStat(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'stat',
      'show size, type, class, metadata and devices of a file',
      'the FileInfo',
    )
    .argument('<DOMAIN:KEY>')
  command.action((address: string, options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      const ref = parseFile(address)
      const { api, signal } = session
      await writeFile(await api.stat(ref, { signal }), session)
    }),
  )
}

/** Prints the attributes of a file. */
export async function writeFile(file: FileInfo, { out, json }: Session): Promise<void> {
  if (json) return out.json(file)
  const rows = [
    ['domain', file.domain],
    ['key', file.key],
    ['size', file.size < 1000 ? `${file.size} B` : `${file.size} (${formatBytes(file.size)})`],
    ['type', file.contentType ?? '-'],
    ['class', file.class],
    ['fid', String(file.fid)],
    ['sha256', file.sha256 ?? '-'],
    ['created', file.createdAt],
    ['modified', file.modifiedAt],
    ['devices', deviceNames(file.devids)],
    ...Object.entries(file.metadata).map(([name, value]) => [`meta ${name}`, value]),
  ]
  const lines = rows.map(
    ([name = '', value = '']) => `${printable(name).padEnd(9)} ${printable(value)}\n`,
  )
  await out.write(lines.join(''))
}
