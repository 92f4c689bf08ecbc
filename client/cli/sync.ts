/** `omg sync`: a local folder and a folder of the cluster are made the same. */
import { rm, stat } from 'node:fs/promises'
import type { Command } from 'commander'
import { addressDomain, parseFolder, type Address } from './address.ts'
import type { Cli } from './command.ts'
import { mayDestroy, type DestructiveOptions, destroys } from './confirm.ts'
import { fetchAll } from './download-files.ts'
import { CommandFailure, isAbsent, ToldFailure, UsageError } from './failure.ts'
import type { Meter } from './progress.ts'
import { changedFiles, uploadOf } from './put.ts'
import type { Session } from './session.ts'
import { plural, printable, printableKey } from './text.ts'
import {
  createSkips,
  hasContent,
  listBelow,
  measure,
  pair,
  pathFor,
  walk,
  type LocalFile,
  type OnSkip,
  type RemoteFile,
} from './tree.ts'
import { putAll, withUploadOptions, type Upload, type UploadOptions } from './upload-files.ts'

interface Options extends UploadOptions, DestructiveOptions {
  readonly delete?: boolean
}

/** Adds the command. */
export function addSync(program: Command, cli: Cli): void {
  const command = destroys(
    withUploadOptions(
      cli.online(
        program,
        'sync',
        'make TARGET like SOURCE: a local folder and a folder of the cluster, in either direction',
        'one Committed, FileInfo or { deleted } per line',
      ),
    ),
    '{ put }, { get } or { delete }',
  )
    .argument('<SOURCE>', 'a local FOLDER, or DOMAIN:KEY/')
    .argument('<TARGET>', 'the other one of the two')
    .option('--delete', 'delete files of TARGET that SOURCE does not have')
  command.action((source: string, target: string, options: Options) =>
    cli.run(command, options, async session => {
      const [from, to] = [remoteFolder(source), remoteFolder(target)]
      if ((from === undefined) === (to === undefined)) {
        throw new UsageError('give one local folder and one DOMAIN:KEY/')
      }
      if (options.delete && !options.dryRun) {
        const what = `delete from ${printable(target)} what ${printable(source)} does not have`
        await mayDestroy(what, options, session)
      }
      if (to) await syncUp(source, to, { options, session })
      else if (from) await syncDown(from, target, { options, session })
    }),
  )
}

/** Reads a folder of the cluster; undefined for a path. `./a:b` is a path. */
function remoteFolder(text: string): Address | undefined {
  return /^[^/.:]+:/.test(text) ? parseFolder(text) : undefined
}

interface Work {
  readonly options: Options
  readonly session: Session
}

type Pair = { readonly left?: LocalFile; readonly right?: RemoteFile }

/** The files of both folders, paired by name: the local one on the left. */
function bothSides(
  folder: string,
  { domain, key: prefix }: Address,
  {
    session: { client, signal },
    onSkip,
  }: Pick<Work, 'session'> & {
    onSkip: OnSkip
  },
): AsyncGenerator<Pair> {
  return pair(walk(folder, { onSkip, signal }), listBelow(client(domain), { prefix, signal }))
}

async function syncUp(folder: string, target: Address, { options, session }: Work): Promise<void> {
  const { out, json, signal, api } = session
  const { domain, key: prefix } = target
  if (!(await stat(folder)).isDirectory()) throw new CommandFailure(`${folder}: is not a folder`)
  const skips = createSkips(out)
  const { count, total } = await measure(walk(folder, { onSkip: skips.onSkip, signal }))
  const report = (what: string, key: string): Promise<void> =>
    out.step(json ? JSON.stringify({ [what]: key }) : `${what} ${addressDomain(domain)}:${key}`)

  async function* changed(meter: Meter): AsyncGenerator<Upload> {
    const pairs = bothSides(folder, target, { session, onSkip() {} })
    for await (const file of changedFiles(pairs, { meter, signal })) {
      const upload = uploadOf(file, prefix)
      if (options.dryRun) await report('put', printable(upload.key))
      else yield upload
    }
  }
  await putAll(changed, { domain, options, session, label: plural(count, 'file'), total })

  // Only after everything was stored: a failure before this deletes nothing.
  if (options.delete && skips.any) out.note('nothing was deleted, since something was left out')
  else if (options.delete) {
    for await (const { left, right } of bothSides(folder, target, { session, onSkip() {} })) {
      if (left || !right) continue
      const { file } = right
      if (options.dryRun) await report('delete', printableKey(file))
      else {
        await api.remove({ domain, key: file.keyBytes ?? file.key }, { signal }).catch(ignoreAbsent)
        await report('deleted', printableKey(file))
      }
    }
  }
  if (skips.any) throw new ToldFailure(1)
}

const ignoreAbsent = (err: unknown): void => {
  if (!isAbsent(err)) throw err
}

async function syncDown(
  source: Address,
  folder: string,
  { options, session }: Work,
): Promise<void> {
  const { out, json, signal, client } = session
  const files = client(source.domain)
  const found = await stat(folder).catch(() => undefined)
  if (found && !found.isDirectory()) throw new CommandFailure(`${folder}: is not a folder`)
  const report = (what: string, path: string): Promise<void> =>
    out.step(json ? JSON.stringify({ [what]: path }) : `${what} ${printable(path)}`)

  const remote = () => listBelow(files, { prefix: source.key, signal })
  if (options.dryRun) {
    for await (const entry of remote()) {
      const place = pathFor(folder, entry)
      if ('path' in place && !(await hasContent(place.path, entry.file, signal))) {
        await report('get', place.path)
      }
    }
  } else {
    let total = 0
    if (session.host.stderr.isTTY) for await (const { file } of remote()) total += file.size
    await fetchAll(remote(), {
      files,
      folder,
      total,
      options: { force: true, resume: true, parallel: options.parallel },
      session,
    })
  }
  if (!options.delete || !found) return
  for await (const { left, right } of bothSides(folder, source, { session, onSkip() {} })) {
    if (!left || right) continue
    if (options.dryRun) await report('delete', left.path)
    else {
      await rm(left.path, { force: true })
      await report('deleted', left.path)
    }
  }
}
