/** `omg set`: class, content type and metadata of a file are changed; its content stays. */
import type { Command } from 'commander'
import type { ChangeFile } from '../../common/protocol/files.ts'
import { parseFile } from './address.ts'
import type { Cli } from './command.ts'
import { UsageError } from './failure.ts'
import type { ConnectionOptions } from './session.ts'
import { writeFile } from './stat.ts'
import { addMeta } from './upload-files.ts'

interface Options extends ConnectionOptions {
  readonly class?: string
  readonly contentType?: string
  readonly meta?: Record<string, string>
  readonly clearMeta?: boolean
}

/** Adds the command. */
export function addSet(program: Command, cli: Cli): void {
  const command = cli
    .online(program, 'set', 'change the class, content type or metadata of a file', 'the FileInfo')
    .argument('<DOMAIN:KEY>')
    .option('--class <NAME>', 'class of the file')
    .option('--content-type <TYPE>', 'content type; an empty value clears it')
    .option('--meta <NAME=VALUE>', 'metadata to add or change; may be repeated', addMeta)
    .option('--clear-meta', 'remove the metadata that the file has')
  command.action((address: string, options: Options) =>
    cli.run(command, options, async session => {
      const ref = parseFile(address)
      const { class: name, contentType, meta, clearMeta = false } = options
      if (name === undefined && contentType === undefined && !meta && !clearMeta) {
        throw new UsageError('nothing to change: give at least one option')
      }
      const { api, signal } = session
      const before = meta && !clearMeta ? (await api.stat(ref, { signal })).metadata : {}
      const change: ChangeFile = {
        ...(name !== undefined && { class: name }),
        ...(contentType !== undefined && { contentType: contentType || null }),
        ...((meta || clearMeta) && { metadata: { ...before, ...meta } }),
      }
      await writeFile(await api.change(ref, change, { signal }), session)
    }),
  )
}
