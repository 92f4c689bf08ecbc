/** `omg put`: files of this machine are stored. */
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Command } from 'commander'
import { checkFileKey, isFolder, parseAddress } from './address.ts'
import type { Cli } from './command.ts'
import { CommandFailure, ToldFailure, UsageError } from './failure.ts'
import type { Meter } from './progress.ts'
import type { Session } from './session.ts'
import { plural } from './text.ts'
import {
  createSkips,
  hasContent,
  listBelow,
  measure,
  pair,
  walk,
  type LocalFile,
  type OnSkip,
  type RemoteFile,
} from './tree.ts'
import { putAll, withUploadOptions, type Upload, type UploadOptions } from './upload-files.ts'

interface Options extends UploadOptions {
  readonly recursive?: boolean
  readonly resume?: boolean
}

/** Adds the command. */
export function addPut(program: Command, cli: Cli): void {
  const command = withUploadOptions(
    cli.online(
      program,
      'put',
      'store files; - is standard input, and a KEY that ends with / is a folder',
      'one Committed per line',
    ),
  )
    .usage('[options] FILE|-… DOMAIN:KEY')
    .argument('<path...>')
    .option(
      '-r, --recursive',
      'store folders with everything in them; FOLDER/ leaves out the name of the folder itself',
    )
    .option('--resume', 'with -r: skip files that are stored already with the same content')
  command.action((paths: string[], options: Options) =>
    cli.run(command, options, async session => {
      const target = paths.at(-1) ?? ''
      const sources = paths.slice(0, -1)
      const { domain, key } = parseAddress(target)
      if (sources.length === 0) throw new UsageError('name the files to put, then DOMAIN:KEY')
      if ((sources.length > 1 || options.recursive) && !isFolder(key)) {
        const what = options.recursive ? 'folders' : 'several files'
        throw new UsageError(
          `${what} go to a folder, which ends with /, as in ${JSON.stringify(`${target}/`)}`,
        )
      }
      if (options.resume && !options.recursive) throw new UsageError('--resume goes with -r')
      if (options.recursive) return putTrees(sources, { domain, key, options, session })
      const items: Upload[] = []
      for (const source of sources) items.push(await itemOf(source, { key, session }))
      await putAll(() => items, {
        domain,
        options,
        session,
        label: items.length === 1 ? (items[0]?.name ?? '') : plural(items.length, 'file'),
        total: items.reduce<number | undefined>(
          (sum, { size }) => (sum === undefined || size === undefined ? undefined : sum + size),
          0,
        ),
      })
    }),
  )
}

/** Checks one file, before anything is sent. */
async function itemOf(
  name: string,
  { key: target, session }: { key: string; session: Session },
): Promise<Upload> {
  if (name === '-') {
    if (isFolder(target))
      throw new UsageError('standard input has no name: give the whole DOMAIN:KEY')
    checkFileKey(target, target)
    return { name, key: target, body: session.host.stdin, size: undefined }
  }
  const key = isFolder(target) ? target + basename(name) : target
  checkFileKey(key, key)
  const found = await stat(name)
  if (found.isDirectory()) {
    throw new CommandFailure(`${name}: is a directory (-r stores everything in it)`)
  }
  await access(name, constants.R_OK)
  return { name, key, body: { file: name }, size: found.isFile() ? found.size : undefined }
}

/** A local folder or file to store, and the key that its names are appended to. */
interface Tree {
  readonly source: string
  readonly prefix: string
  readonly isFolder: boolean
}

/** Stores whole folders. All names are checked before the first file is sent. */
async function putTrees(
  sources: readonly string[],
  {
    domain,
    key,
    options,
    session,
  }: { domain: string; key: string; options: Options; session: Session },
): Promise<void> {
  const { out, signal, client } = session
  const trees: Tree[] = []
  for (const source of sources) trees.push(await treeOf(source, key))
  const skips = createSkips(out)
  const { count, total } = await measure(uploadsOf(trees, { onSkip: skips.onSkip, signal }))
  const files = client(domain)
  const todo = (meter: Meter): AsyncIterable<Upload> =>
    uploadsOf(trees, {
      onSkip() {},
      signal,
      ...(options.resume && {
        changed: (tree: Tree, local: AsyncIterable<LocalFile>) =>
          changedFiles(pair(local, listBelow(files, { prefix: tree.prefix, signal })), {
            meter,
            signal,
          }),
      }),
    })
  await putAll(todo, { domain, options, session, label: plural(count, 'file'), total })
  if (skips.any) throw new ToldFailure(1)
}

async function treeOf(source: string, target: string): Promise<Tree> {
  const found = await stat(source)
  if (!found.isDirectory()) {
    await access(source, constants.R_OK)
    return { source, prefix: target, isFolder: false }
  }
  const name = basename(source)
  const itself = source.endsWith('/') || name === '.' || name === '..' || name === ''
  return { source, prefix: itself ? target : `${target}${name}/`, isFolder: true }
}

async function* uploadsOf(
  trees: readonly Tree[],
  {
    onSkip,
    signal,
    changed,
  }: {
    onSkip: OnSkip
    signal: AbortSignal
    /** Picks the files that have to be sent; absent: all. */
    changed?: (tree: Tree, local: AsyncIterable<LocalFile>) => AsyncIterable<LocalFile>
  },
): AsyncGenerator<Upload> {
  for (const tree of trees) {
    const all = tree.isFolder ? walk(tree.source, { onSkip, signal }) : oneFile(tree.source)
    for await (const file of changed ? changed(tree, all) : all) {
      yield uploadOf(file, tree.prefix)
    }
  }
}

async function* oneFile(path: string): AsyncGenerator<LocalFile> {
  yield { path, name: basename(path), size: (await stat(path)).size }
}

/** The upload of a file below `prefix`. Throws UsageError when the result is not a valid key. */
export function uploadOf({ path, name, size }: LocalFile, prefix: string): Upload {
  const key = prefix + name
  checkFileKey(key, path)
  return { name: path, key, body: { file: path }, size }
}

/**
 * The local files that differ from the remote file of the same name, or that have none. The others are
 * counted as done in `meter`.
 */
export async function* changedFiles(
  pairs: AsyncIterable<{ readonly left?: LocalFile; readonly right?: RemoteFile }>,
  { meter, signal }: { meter: Meter; signal: AbortSignal },
): AsyncGenerator<LocalFile> {
  for await (const { left, right } of pairs) {
    if (!left) continue
    if (right && (await hasContent(left.path, right.file, signal))) meter.add(left.size)
    else yield left
  }
}
