/** `omg fids`: the files of all domains, in the order of their fids. */
import type { Command } from 'commander'
import type { FileInfo } from '../../common/protocol/files.ts'
import type { TrackerApi } from '../tracker-api/index.ts'
import { addressOf } from './address.ts'
import { wholeNumber, type Cli } from './command.ts'
import { pageSize, pagesOf } from './pages.ts'
import type { ConnectionOptions } from './session.ts'
import { printable } from './text.ts'

interface Options extends ConnectionOptions {
  readonly from: number
  readonly count: number
}

const maxFid = Number.MAX_SAFE_INTEGER

/** Adds the command. */
export function addFids(program: Command, cli: Cli): void {
  const command = cli
    .online(program, 'fids', 'list the files of all domains by fid', 'one FileInfo per line')
    .option('--from <FID>', 'fid to begin with', wholeNumber(0, maxFid), 1)
    .option(
      '--count <N>',
      'how many fids to look at, used or not, as moglistfids does',
      wholeNumber(1, maxFid),
      100,
    )
  command.action((options: Options) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const end = options.from + options.count
      const after = Math.max(0, options.from - 1)
      for await (const files of pagesOfFids(api, { after, signal })) {
        const wanted = files.filter(({ fid }) => fid < end)
        await out.lines(wanted.map(file => (json ? JSON.stringify(file) : line(file))))
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
    printable(name).padEnd(10),
    addressOf(file),
  ]
  return columns.join('  ')
}

/** All files with a fid above `after`, in pages. */
export const pagesOfFids = (
  api: TrackerApi,
  { after = 0, signal }: { after?: number; signal: AbortSignal },
): AsyncGenerator<readonly FileInfo[]> =>
  pagesOf(last => api.listFids({ after: last?.fid ?? after, limit: pageSize }, { signal }))
