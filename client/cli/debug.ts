/** `omg debug`: everything that is known about a file, with a check of every copy. */
import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import type { FileTraces } from '../../common/protocol/upkeep.ts'
import type { StorageClient } from '../storage.ts'
import { addressOf, parseFile } from './address.ts'
import { choice, wholeNumber, type Cli } from './command.ts'
import { ToldFailure, UsageError } from './failure.ts'
import type { ConnectionOptions } from './session.ts'
import { deviceNames, plural, printable } from './text.ts'

interface Options extends ConnectionOptions {
  readonly fid?: number
  readonly paths: 'print' | 'stat' | 'fetch'
}

/** What was found at the place of a copy. */
export interface FoundCopy {
  readonly devid: number
  readonly url: string
  /** `good`: its bytes were read and are right; with `fetch: false`, only its length was looked at. */
  readonly state: 'unchecked' | 'good' | 'missing' | 'unreadable' | 'wrong size' | 'wrong bytes'
  readonly size?: number
  readonly sha256?: string
  readonly md5?: string
  readonly sha1?: string
  readonly error?: string
}

/** Adds the command. */
export function addDebug(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'debug',
      'show everything known about a file, and check every copy; exit 1 if one is not good',
      'the FileTraces with copies: an array of { devid, url, state, size?, sha256?, md5?, sha1?, error? }',
    )
    .argument('[DOMAIN:KEY]')
    .option(
      '--fid <FID>',
      'fid of a content, which may be deleted already, in place of DOMAIN:KEY',
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
    )
    .addOption(
      choice('--paths <HOW>', 'how to check the copies', ['print', 'stat', 'fetch']).default(
        'fetch',
      ),
    )
  command.action((address: string | undefined, options: Options) =>
    cli.run(command, options, async session => {
      if ((address === undefined) === (options.fid === undefined)) {
        throw new UsageError('give either DOMAIN:KEY or --fid')
      }
      const ref = address === undefined ? undefined : parseFile(address)
      const { api, signal, out, json } = session
      const traces = ref
        ? await api.debugFile(ref, { signal })
        : await api.debugFid(options.fid ?? 0, { signal })
      const copies: FoundCopy[] =
        options.paths === 'print'
          ? traces.urls.map(copy => ({ ...copy, state: 'unchecked' }))
          : await lookAtCopies(traces, { fetch: options.paths === 'fetch', signal })
      if (json) await out.json({ ...traces, copies })
      else await out.write(describe(traces, copies))
      if (copies.some(({ state }) => state !== 'good' && state !== 'unchecked')) {
        throw new ToldFailure(1)
      }
    }),
  )
}

/**
 * Checks all copies of a content from this machine: with `fetch` all of their bytes, else only their
 * lengths. A copy that cannot be read is `unreadable`. Rejects only with the signal's reason.
 */
export async function lookAtCopies(
  traces: FileTraces,
  { fetch, signal }: { fetch: boolean; signal: AbortSignal },
): Promise<FoundCopy[]> {
  const { createStorageClient } = await import('../storage.ts') // loaded when it is needed
  const storage = createStorageClient()
  try {
    return await Promise.all(
      traces.urls.map(copy => lookAtCopy(copy, { traces, storage, fetch, signal })),
    )
  } finally {
    await storage.close()
  }
}

async function lookAtCopy(
  { devid, url }: FileTraces['urls'][number],
  {
    traces: { file, checksum },
    storage,
    fetch,
    signal,
  }: { traces: FileTraces; storage: StorageClient; fetch: boolean; signal: AbortSignal },
): Promise<FoundCopy> {
  const at = { devid, url }
  try {
    const found = await storage.head(url, { signal })
    if (!found) return { ...at, state: 'missing' }
    const { size } = found
    if (file && size !== file.size) return { ...at, state: 'wrong size', size }
    if (!fetch) return { ...at, state: 'good', size }
    const sha256 = createHash('sha256')
    const md5 = createHash('md5')
    const sha1 = createHash('sha1')
    const { body } = await storage.get(url, { signal })
    await pipeline(
      body,
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          sha256.update(chunk)
          md5.update(chunk)
          sha1.update(chunk)
        }
      },
      { signal },
    )
    const sums = { sha256: sha256.digest('hex'), md5: md5.digest('hex'), sha1: sha1.digest('hex') }
    const wanted = { MD5: sums.md5, 'SHA-1': sums.sha1 }[checksum?.algorithm ?? '']
    const wrong =
      (file?.sha256 !== undefined && file.sha256 !== sums.sha256) ||
      (wanted !== undefined && wanted !== checksum?.hex)
    return { ...at, state: wrong ? 'wrong bytes' : 'good', size, ...sums }
  } catch (err) {
    signal.throwIfAborted()
    return { ...at, state: 'unreadable', error: err instanceof Error ? err.message : String(err) }
  }
}

function describe(traces: FileTraces, copies: readonly FoundCopy[]): string {
  const { fid, file, checksum, upload, replication, deletion, check, moves } = traces
  const lines = [`fid ${fid}`]
  const row = (label: string, value: string): void =>
    void lines.push(`  ${label.padEnd(12)} ${value}`)
  const job = (label: string, one: { attempts: number; nextTryAt?: string } | undefined): void => {
    if (!one) return
    const next = one.nextTryAt === undefined ? 'waits for a person' : `next ${one.nextTryAt}`
    row(label, `${next}, tried ${plural(one.attempts, 'time')}`)
  }
  if (file) {
    row('file', addressOf(file))
    row('class', printable(file.class))
    row('size', String(file.size))
    row('sha256', file.sha256 ?? '-')
    row('created', file.createdAt)
    row('devices', deviceNames(file.devids))
  } else row('file', 'no file has this content')
  if (checksum) row('checksum', `${checksum.algorithm} ${checksum.hex}`)
  if (upload) row('upload', `open until ${upload.expiresAt}, for ${printable(upload.key)}`)
  job('replication', replication)
  job('deletion', deletion)
  job('check', check)
  for (const move of moves) job(`move dev${move.from}`, move)
  for (const { devid, url, state, size, sha256, md5, error } of copies) {
    lines.push(`dev${devid}: ${state}`)
    row('url', url)
    if (size !== undefined) row('size', String(size))
    if (sha256 !== undefined) row('sha256', sha256)
    if (md5 !== undefined) row('md5', md5)
    if (error !== undefined) row('error', printable(error))
  }
  return `${lines.join('\n')}\n`
}
