/** `omg get` and `omg cat`: downloads of files. */
import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { CodedError } from '../../common/errors.ts'
import { lastPart, parseFile, parseFolder } from './address.ts'
import type { Cli } from './command.ts'
import { fetchAll } from './download-files.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { fileToJson } from './output.ts'
import { createMeter, type Meter } from './progress.ts'
import { checkTarget, save } from './save.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { suggestRecursive } from './suggest.ts'
import { formatBytes, printable } from './text.ts'
import { listBelow } from './tree.ts'
import { withParallel } from './upload-files.ts'

interface GetOptions extends ConnectionOptions {
  readonly force?: boolean
  readonly recursive?: boolean
  readonly resume?: boolean
  readonly parallel: number
}

/** Adds both commands. */
export function addGet(program: Command, cli: Cli): void {
  const get = withParallel(
    cli.online(
      program,
      'get',
      'download files, by default into the current folder',
      'one FileInfo per line',
    ),
  )
    .argument('<DOMAIN:KEY>')
    .argument('[FILE|-]', 'where to write it: a file, a folder, or - for standard output')
    .option('-f, --force', 'replace existing files')
    .option(
      '-r, --recursive',
      'download everything below a folder, a KEY that ends with /; DOMAIN: is all of the domain',
    )
    .option(
      '--resume',
      'keep the part that has arrived when a download breaks, and continue there next time; with -r, skip files that are here already',
    )
  get.action((source: string, target: string | undefined, options: GetOptions) =>
    cli.run(get, options, session =>
      options.recursive
        ? getTree(source, { target: target ?? '.', options, session })
        : getOne(source, { target, options, session }),
    ),
  )

  const cat = cli
    .online(program, 'cat', 'write files to standard output, one after another', undefined)
    .argument('<DOMAIN:KEY...>')
  cat.action((sources: string[], options: ConnectionOptions) =>
    cli.run(cat, options, async session => {
      if (session.json) throw new UsageError('--json does not fit: cat prints the file itself')
      const files = sources.map(parseFile)
      for (const file of files) await print(file, session)
    }),
  )
}

async function getOne(
  source: string,
  {
    target,
    options: { force = false, resume = false },
    session,
  }: { target: string | undefined; options: GetOptions; session: Session },
): Promise<void> {
  const { client, host, signal, out, json } = session
  const { domain, key } = parseFile(source)
  if (target === '-') {
    if (json) throw new UsageError('--json and - both write to standard output: use one of them')
    return print({ domain, key }, session)
  }
  const path = await targetOf(key, target)
  await checkTarget(path, force)
  let meter: Meter | undefined
  const file = await save(key, {
    files: client(domain),
    path,
    resume,
    signal,
    onStart({ size }) {
      meter = createMeter({ stream: host.stderr, label: basename(path), total: size })
    },
    onBytes: count => meter?.add(count),
  })
    .finally(() => meter?.stop())
    .catch((err: unknown) => {
      throw suggestRecursive(err, key)
    })
  if (json) await out.json(fileToJson(file))
  else await out.write(`${printable(path)}  ${formatBytes(file.size)}\n`)
}

async function getTree(
  source: string,
  { target, options, session }: { target: string; options: GetOptions; session: Session },
): Promise<void> {
  const { client, signal } = session
  const { domain, key: prefix } = parseFolder(source)
  if (target === '-') throw new UsageError('a folder cannot be written to standard output')
  if ((await stat(target).catch(() => undefined))?.isDirectory() === false) {
    throw new CommandFailure(`${target}: is not a folder`)
  }
  const files = client(domain)
  const list = () => listBelow(files, { prefix, signal })
  let total: number | undefined
  if (session.host.stderr.isTTY) {
    total = 0
    for await (const { file } of list()) total += file.size
  }
  let any = false
  async function* found() {
    for await (const entry of list()) {
      any = true
      yield entry
    }
  }
  await fetchAll(found(), { files, folder: target, total, options, session })
  if (!any && prefix !== '') {
    throw new CodedError('unknown_key', `no key begins with ${JSON.stringify(prefix)} in ${domain}`)
  }
}

/**
 * The path to write a file to. Throws when the folder for it is missing, so that this is known before
 * anything is downloaded.
 */
async function targetOf(key: string, target: string | undefined): Promise<string> {
  const isDirectory =
    target === undefined || (await stat(target).catch(() => undefined))?.isDirectory()
  if (target === '') throw new UsageError('the file to write has no name')
  const name = lastPart(key)
  if (isDirectory && ['', '.', '..'].includes(name)) {
    throw new UsageError(
      `${JSON.stringify(key)} does not end with a name: say which file to write, or -r`,
    )
  }
  const path = isDirectory ? join(target ?? '', name) : target
  await stat(dirname(path))
  return path
}

async function print(
  { domain, key }: { domain: string; key: string },
  { client, signal, out }: Session,
): Promise<void> {
  const { body } = await client(domain).get(key, { signal })
  for await (const chunk of body as AsyncIterable<Buffer>) await out.write(chunk)
}
