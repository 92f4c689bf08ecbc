/** `omg undelete` and `omg trash`: deleted files, which can be had back for a while. */
import type { Command } from 'commander'
import { isCoded } from '../../common/errors.ts'
import type { TrashList } from '../../common/protocol/upkeep.ts'
import type { Key } from '../tracker-api/index.ts'
import { parseAddress, parseFile } from './address.ts'
import { wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { outcomeOf, ToldFailure, UsageError } from './failure.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { writeFile } from './stat.ts'
import { formatBytes, plural, printable, printableKey } from './text.ts'

/** Files that are asked for at once. */
const pageSize = 1000

/** Adds the commands. */
export function addUndelete(program: Command, cli: Cli): void {
  const undelete = cli
    .online(program, 'undelete', 'have a deleted file back under its key', 'the FileInfo')
    .argument('<DOMAIN:KEY>')
    .option(
      '--fid <FID>',
      'one of several contents, as omg trash list shows them; else the last',
      wholeNumber(1, Number.MAX_SAFE_INTEGER),
    )
  undelete.action((address: string, options: ConnectionOptions & { readonly fid?: number }) =>
    cli.run(undelete, options, async session => {
      const { api, signal, out } = session
      const file = { ...parseFile(address), fid: options.fid }
      const found = await api.undelete(file, { signal }).catch((err: unknown) => {
        if (!isCoded(err, 'unknown_key')) throw err
        out.note(`${err.code}: ${err.message} (omg trash list shows what can)`)
        throw new ToldFailure(outcomeOf(err).status)
      })
      await writeFile(found, session)
    }),
  )

  const group = program.command('trash').description('deleted files that can be had back')

  const list = cli
    .online(
      group,
      'list',
      'show those whose keys begin with PREFIX',
      'one entry of TrashList a line',
    )
    .alias('ls')
    .argument('<DOMAIN:[PREFIX]>')
  list.action((address: string, options: ConnectionOptions) =>
    cli.run(list, options, async session => {
      const { domain, key: prefix } = parseAddress(address)
      await listTrash(domain, prefix, session)
    }),
  )

  const empty = destroys(
    cli.online(group, 'empty', 'let go of all of them, which frees their space', 'the Purged'),
  ).argument('<DOMAIN:>')
  empty.action((address: string, options: DestructiveOptions) =>
    cli.run(empty, options, async session => {
      const { domain, key } = parseAddress(address)
      if (key !== '') {
        const all = address.slice(0, -key.length)
        throw new UsageError(`it is all or nothing: ${JSON.stringify(all)}`)
      }
      const { api, signal, out, json } = session
      const what = `empty the trash of ${printable(domain)}`
      const change = { action: 'trash.empty', domain } as const
      if (!(await mayDestroy(what, options, session, change))) return
      const answer = await api.emptyTrash(domain, { signal })
      if (json) await out.json(answer)
      else await out.write(`${plural(answer.count, 'file')} let go of\n`)
    }),
  )
}

async function listTrash(
  domain: string,
  prefix: string,
  { api, signal, out, json }: Session,
): Promise<void> {
  let last: { readonly after: Key; readonly afterFid: number } | undefined
  for (;;) {
    const files = await api.listTrash(domain, { prefix, ...last, limit: pageSize }, { signal })
    const lines = files.map(file => `${json ? JSON.stringify(file) : line(file)}\n`)
    if (lines.length > 0) await out.write(lines.join(''))
    const end = files.at(-1)
    if (!end || files.length < pageSize) return
    last = { after: keyOf(end) ?? end.key, afterFid: end.fid }
  }
}

const keyOf = ({ keyBytes }: TrashList[number]): Buffer | undefined =>
  keyBytes === undefined ? undefined : Buffer.from(keyBytes, 'base64url')

function line(file: TrashList[number]): string {
  const { fid, size, expiresAt, key } = file
  const columns = [
    String(fid).padStart(10),
    formatBytes(size).padStart(8),
    `until ${expiresAt.slice(0, 19)}Z`,
  ]
  return `${columns.join('  ')}  ${printableKey({ key, keyBytes: keyOf(file) })}`
}
