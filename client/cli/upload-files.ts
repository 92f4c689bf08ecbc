/** Uploads of many files, a few at a time. */
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

/** One file to store. */
export interface Upload {
  /** Its path, as the user wrote it; `-` for standard input. */
  readonly name: string
  readonly key: string
  readonly body: PutBody
  /** Bytes; undefined when that is not known. */
  readonly size: number | undefined
}

/** Adds the options of commands that store files. */
export function withUploadOptions(command: Command): Command {
  return withParallel(command)
    .option('--class <NAME>', 'class of the files')
    .option('--content-type <TYPE>', 'content type; else found by the extension of the name')
    .option(
      '--meta <NAME=VALUE>',
      'metadata that is stored with the file; may be repeated',
      addMeta,
    )
    .addOption(
      choice('--durability <HOW>', 'copies on disk before the put succeeds (1, 2, all)', [
        'fast',
        'safe',
        'everywhere',
      ]),
    )
}

/** Adds the option that says how many files are transferred at the same time. */
export const withParallel = (command: Command): Command =>
  command.option('-j, --parallel <N>', 'files to transfer at the same time', wholeNumber(1, 64), 4)

/** A parser for a repeatable option `NAME=VALUE`; `before` holds what was parsed already. */
export function addMeta(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It must be NAME=VALUE.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

/**
 * Stores the files that `items` yields and prints a line for each. `items` gets the meter, to count bytes
 * that need not be sent. After the first failure no further upload is started.
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
    /** Bytes in all; undefined when that is not known. */
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
