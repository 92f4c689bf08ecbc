/** Many files of this machine into the cluster, a few at a time. */
import { InvalidArgumentError, type Command } from 'commander'
import type { Durability } from '../../common/protocol/files.ts'
import type { PutBody } from '../body.ts'
import { addressOf } from './address.ts'
import { choice, wholeNumber } from './command.ts'
import { contentTypeOf } from './content-type.ts'
import { fileToJson } from './output.ts'
import { eachOf } from './parallel.ts'
import { createMeter, type Meter } from './progress.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, plural } from './text.ts'

export interface UploadOptions extends ConnectionOptions {
  readonly class?: string
  readonly contentType?: string
  readonly meta?: Record<string, string>
  readonly durability?: Durability
  readonly parallel: number
}

/** One file to put. */
export interface Upload {
  /** As the user wrote it. */
  readonly name: string
  readonly key: string
  readonly body: PutBody
  /** Bytes, where they are known. */
  readonly size: number | undefined
}

/** Adds the options that say how files are kept. */
export function withUploadOptions(command: Command): Command {
  return withParallel(command)
    .option('--class <NAME>', 'replication class')
    .option('--content-type <TYPE>', 'instead of the one that the ending of the name tells')
    .option('--meta <NAME=VALUE>', 'text that stays with the file; may be given again', addMeta)
    .addOption(
      choice('--durability <HOW>', 'copies on disk before it is OK (one, two, all)', [
        'fast',
        'safe',
        'everywhere',
      ]),
    )
}

/** Adds the option that says how many files are under way at the same time. */
export const withParallel = (command: Command): Command =>
  command.option('-j, --parallel <N>', 'files at the same time', wholeNumber(1, 64), 4)

/** A parser for options that may be given again, `NAME=VALUE`. */
export function addMeta(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It must be NAME=VALUE.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

/**
 * Puts them all and tells of each. `items` may tell the meter of bytes that need not be sent. After the first failure no further one is begun.
 */
export async function putAll(
  items: (meter: Meter) => Iterable<Upload> | AsyncIterable<Upload>,
  {
    domain,
    options,
    session,
    label,
    total,
  }: {
    domain: string
    options: UploadOptions
    session: Session
    label: string
    /** Bytes in all, where they are known. */
    total: number | undefined
  },
): Promise<void> {
  const { host, out, json, signal } = session
  const client = session.client(domain)
  const meter = createMeter({ stream: host.stderr, label, total })
  try {
    await eachOf(items(meter), { concurrency: options.parallel, signal }, async item => {
      const { name, key, body, size } = item
      let sent = 0
      const file = await client.put(key, body, {
        size,
        class: options.class,
        contentType: options.contentType ?? contentTypeOf(name) ?? contentTypeOf(key),
        metadata: options.meta,
        durability: options.durability,
        signal,
        onProgress(progress) {
          meter.add(progress.sent - sent)
          sent = progress.sent
        },
      })
      meter.clear()
      if (json) return out.step(JSON.stringify(fileToJson(file)))
      const copies = plural(file.copies, 'copy', 'copies')
      if (file.reduced !== undefined) out.note(`${key}: ${file.reduced}`)
      await out.step(`${addressOf(file)}  ${formatBytes(file.size)}  ${copies}`)
    })
  } finally {
    meter.stop()
  }
}
