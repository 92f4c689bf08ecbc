/** `omg fids`: files of all domains by the numbers of their contents. */
import type { Command } from 'commander'
import type { FileInfo } from '../../common/protocol/files.ts'
import type { TrackerApi } from '../tracker-api/index.ts'
import { addressOf } from './address.ts'
import { wholeNumber, type Cli } from './command.ts'
import type { ConnectionOptions } from './session.ts'
import { printable } from './text.ts'

interface Options extends ConnectionOptions {
  readonly from: number
  readonly count: number
}

const maxFid = Number.MAX_SAFE_INTEGER

/** Files that are asked for at once. */
const pageSize = 1000

/** Adds the command. */
export function addFids(program: Command, cli: Cli): void {
  const command = cli
    .online(program, 'fids', 'list files of all domains by fid', 'one FileInfo a line')
    .option('--from <FID>', 'the first to show', wholeNumber(0, maxFid), 1)
    .option(
      '--count <N>',
      'how many fids to look at, as moglistfids does',
      wholeNumber(1, maxFid),
      100,
    )
  command.action((options: Options) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const end = options.from + options.count
      for await (const files of pagesOfFids(api, {
        after: Math.max(0, options.from - 1),
        signal,
      })) {
        const wanted = files.filter(({ fid }) => fid < end)
        const lines = wanted.map(file => (json ? JSON.stringify(file) : line(file)) + '\n')
        if (lines.length > 0) await out.write(lines.join(''))
        if (wanted.length < files.length) return
      }
    }),
  )
}

function line(file: FileInfo): string {
  const { fid, size, devids, class: name } = file
  const columns = [
    String(fid).padStart(10),
    String(size).padStart(13),
    String(devids.length).padStart(2),
  ]
  return `${columns.join('  ')}  ${printable(name).padEnd(10)}  ${addressOf(file)}`
}

/** All files behind the fid `after`, in pages. */
export async function* pagesOfFids(
  api: TrackerApi,
  { after = 0, signal }: { after?: number; signal: AbortSignal },
): AsyncGenerator<FileInfo[]> {
  for (let last: number | undefined = after; last !== undefined;) {
    const files: FileInfo[] = await api.listFids({ after: last, limit: pageSize }, { signal })
    if (files.length > 0) yield files
    last = files.length < pageSize ? undefined : files.at(-1)?.fid
  }
}
