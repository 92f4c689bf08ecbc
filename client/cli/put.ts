/** `omg put`: files of this machine into the cluster. */
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { InvalidArgumentError, type Command } from 'commander'
import type { Durability } from '../../common/protocol.ts'
import type { PutBody } from '../body.ts'
import { checkFileKey, isFolder, parseAddress } from './address.ts'
import { choice, type Cli } from './command.ts'
import { contentTypeOf } from './content-type.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { eachOf } from './parallel.ts'
import { fileToJson } from './output.ts'
import { createMeter } from './progress.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, plural, printable, printableKey } from './text.ts'

interface Options extends ConnectionOptions {
  readonly class?: string
  readonly contentType?: string
  readonly meta?: Record<string, string>
  readonly durability?: Durability
}

/** One file to put. */
interface Item {
  /** As the user wrote it. */
  readonly name: string
  readonly key: string
  readonly body: PutBody
  /** Bytes, where they are known. */
  readonly size: number | undefined
}

/** Files that are put at the same time. */
const concurrency = 4

/** Adds the command. */
export function addPut(program: Command, cli: Cli): void {
  const command = cli
    .online(program, 'put', 'store files; - is standard input, a KEY that ends with / a folder')
    .usage('[options] FILE|-… DOMAIN:KEY')
    .argument('<path...>')
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
  command.action((paths: string[], options: Options) =>
    cli.run(command, options, async session => {
      const target = paths.at(-1) ?? ''
      const sources = paths.slice(0, -1)
      const { domain, key } = parseAddress(target)
      if (sources.length === 0) throw new UsageError('name the files to put, then DOMAIN:KEY')
      if (sources.length > 1 && !isFolder(key)) {
        throw new UsageError(`several files go to a folder: ${JSON.stringify(`${target}/`)}`)
      }
      const items: Item[] = []
      for (const source of sources) items.push(await itemOf(source, { key, session }))
      await putAll(items, { domain, options, session })
    }),
  )
}

function addMeta(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('It must be NAME=VALUE.')
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

/** Looks at a file before anything is sent. */
async function itemOf(
  name: string,
  { key: target, session }: { key: string; session: Session },
): Promise<Item> {
  if (name === '-') {
    if (isFolder(target)) throw new UsageError('standard input needs a whole DOMAIN:KEY')
    checkFileKey(target, target)
    return { name, key: target, body: session.host.stdin, size: undefined }
  }
  const key = isFolder(target) ? target + basename(name) : target
  checkFileKey(key, key)
  const found = await stat(name)
  if (found.isDirectory()) throw new CommandFailure(`${name}: is a directory`)
  await access(name, constants.R_OK)
  return { name, key, body: { file: name }, size: found.isFile() ? found.size : undefined }
}

async function putAll(
  items: readonly Item[],
  { domain, options, session }: { domain: string; options: Options; session: Session },
): Promise<void> {
  const { host, out, json, signal } = session
  const client = session.client(domain)
  const meter = createMeter({
    stream: host.stderr,
    label: items.length === 1 ? (items[0]?.name ?? '') : plural(items.length, 'file'),
    total: items.reduce<number | undefined>(
      (sum, { size }) => (sum === undefined || size === undefined ? undefined : sum + size),
      0,
    ),
  })
  try {
    await eachOf(items, { concurrency, signal }, async ({ name, key, body, size }) => {
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
      await out.step(
        `${printable(domain)}:${printableKey(file)}  ${formatBytes(file.size)}  ${copies}`,
      )
    })
  } finally {
    meter.stop()
  }
}
