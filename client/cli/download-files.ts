/** Downloads of many files, a few at a time. */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Client } from '../index.ts'
import { CommandFailure, outcomeOf, ToldFailure } from './failure.ts'
import { fileToJson } from './output.ts'
import { eachOf } from './parallel.ts'
import { createMeter, type Meter } from './progress.ts'
import { checkTarget, save } from './save.ts'
import type { Session } from './session.ts'
import { formatBytes, printable, printableKey } from './text.ts'
import { hasContent, pathFor, type RemoteFile } from './tree.ts'

interface FetchOptions {
  readonly force?: boolean
  readonly resume?: boolean
  readonly parallel: number
}

interface Fetching {
  readonly files: Client
  readonly folder: string
  readonly options: FetchOptions
  readonly session: Session
  readonly meter: Meter
}

/**
 * Downloads `entries` into `folder`, each under its name, and prints a line for each. A file that cannot
 * be written there, because something is in its way, is reported and left out; at the end that throws
 * ToldFailure. After any other failure no further download is started.
 */
export async function fetchAll(
  entries: AsyncIterable<RemoteFile>,
  {
    total,
    ...rest
  }: Omit<Fetching, 'meter'> & { /** Bytes in all. */ readonly total: number | undefined },
): Promise<void> {
  const { session, options } = rest
  const meter = createMeter({ stream: session.host.stderr, label: rest.folder, total })
  let failed = false
  try {
    const { signal } = session
    await eachOf(entries, { concurrency: options.parallel, signal }, async entry => {
      try {
        await fetchOne(entry, { ...rest, meter })
      } catch (err) {
        if (!isPlace(err)) throw err
        failed = true
        meter.clear()
        session.out.note(outcomeOf(err).text ?? '')
      }
    })
  } finally {
    meter.stop()
  }
  if (failed) throw new ToldFailure(1)
}

async function fetchOne(
  entry: RemoteFile,
  { files, folder, options, session, meter }: Fetching,
): Promise<void> {
  const { file } = entry
  const { out, json, signal } = session
  const place = pathFor(folder, entry)
  if ('why' in place) throw new CommandFailure(`${printableKey(file)} is left out: ${place.why}`)
  const { path } = place
  if (options.resume && (await hasContent(path, file, signal))) return meter.add(file.size)
  await checkTarget(path, options.force ?? false)
  await mkdir(dirname(path), { recursive: true })
  const saved = await save(file.key, {
    files,
    path,
    resume: options.resume ?? false,
    signal,
    onStart() {},
    onBytes: count => meter.add(count),
  })
  meter.clear()
  if (json) await out.step(JSON.stringify(fileToJson(saved)))
  else await out.step(`${printable(path)}  ${formatBytes(saved.size)}`)
}

/** Errors that concern the place of one file, so that others may still succeed. */
const inTheWay: ReadonlySet<unknown> = new Set(['EEXIST', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG'])

const isPlace = (err: unknown): boolean =>
  err instanceof CommandFailure || inTheWay.has((err as NodeJS.ErrnoException).code)
