/** `omg get` and `omg cat`: files of the cluster onto this machine. */
import { randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { lstat, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import type { ReadableFile } from '../download.ts'
import { lastPart, parseFile } from './address.ts'
import type { Cli } from './command.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { fileToJson } from './output.ts'
import { createMeter } from './progress.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, printable } from './text.ts'

interface GetOptions extends ConnectionOptions {
  readonly force?: boolean
}

/** Adds both commands. */
export function addGet(program: Command, cli: Cli): void {
  const get = cli
    .online(program, 'get', 'fetch a file, into the folder one is in unless told otherwise')
    .argument('<DOMAIN:KEY>')
    .argument('[FILE|-]', 'where to write it: a file, a folder, or - for standard output')
    .option('-f, --force', 'replace a file that exists')
  get.action((source: string, target: string | undefined, options: GetOptions) =>
    cli.run(get, options, async session => {
      const { domain, key } = parseFile(source)
      if (target === '-') {
        if (session.json) throw new UsageError('--json and - both mean standard output')
        return print({ domain, key }, session)
      }
      const path = await targetOf(key, { target, force: options.force ?? false })
      const file = await session.client(domain).get(key, { signal: session.signal })
      await save(file, path, session)
      if (session.json) await session.out.json(fileToJson(file))
      else await session.out.write(`${printable(path)}  ${formatBytes(file.size)}\n`)
    }),
  )

  const cat = cli
    .online(program, 'cat', 'write files to standard output, one after another')
    .argument('<DOMAIN:KEY...>')
  cat.action((sources: string[], options: ConnectionOptions) =>
    cli.run(cat, options, async session => {
      if (session.json) throw new UsageError('--json: what cat prints is the file itself')
      const files = sources.map(parseFile)
      for (const file of files) await print(file, session)
    }),
  )
}

/** Where to write a file, if one may be written there. */
async function targetOf(
  key: string,
  { target, force }: { target: string | undefined; force: boolean },
): Promise<string> {
  const isFolder =
    target === undefined || (await stat(target).catch(() => undefined))?.isDirectory()
  const name = lastPart(key)
  if (isFolder && ['', '.', '..'].includes(name)) {
    throw new UsageError(`${JSON.stringify(key)} does not end with a name: say which file to write`)
  }
  const path = isFolder ? join(target ?? '', name) : target
  await stat(dirname(path)) // a folder that is missing is told before anything is fetched
  const there = await lstat(path).catch(() => undefined)
  if (there && !force) throw new CommandFailure(`${path}: file exists (--force replaces it)`)
  if (there && !there.isFile() && !there.isSymbolicLink()) {
    throw new CommandFailure(`${path}: is no regular file (- writes to standard output)`)
  }
  return path
}

/** Writes a file beside `path`; it gets its name when it is complete and its checksum is right. */
async function save(file: ReadableFile, path: string, { host, signal }: Session): Promise<void> {
  const temp = join(dirname(path), `.omg-${randomUUID()}.part`)
  const meter = createMeter({ stream: host.stderr, label: basename(path), total: file.size })
  try {
    await pipeline(
      file.body,
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          meter.add(chunk.length)
          yield chunk
        }
      },
      createWriteStream(temp, { flags: 'wx', flush: true }),
      { signal },
    )
    await rename(temp, path)
  } catch (err) {
    await rm(temp, { force: true })
    throw err
  } finally {
    meter.stop()
  }
}

async function print(
  { domain, key }: { domain: string; key: string },
  { client, signal, out }: Session,
): Promise<void> {
  const { body } = await client(domain).get(key, { signal })
  for await (const chunk of body as AsyncIterable<Buffer>) await out.write(chunk)
}
