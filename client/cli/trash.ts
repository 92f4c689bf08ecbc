/** `omg trash`: the deleted files that can still be restored. */
import type { Command } from 'commander'
import type { TrashList } from '../../common/protocol/upkeep.ts'
import { parseAddress } from './address.ts'
import type { Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { UsageError } from './failure.ts'
import { pageSize, pagesOf } from './pages.ts'
import type { ConnectionOptions } from './session.ts'
import { formatBytes, plural, printable, printableKey } from './text.ts'

/** Adds the commands. */
export function addTrash(program: Command, cli: Cli): void {
  const group = program
    .command('trash')
    .description('manage the deleted files that can still be restored')
  addList(group, cli)
  addEmpty(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = cli
    .online(
      group,
      'list',
      'list the deleted files whose keys begin with PREFIX',
      'one entry of TrashList per line',
    )
    .alias('ls')
    .argument('<DOMAIN:[PREFIX]>')
  command.action((address: string, options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const { domain, key: prefix } = parseAddress(address)
      const pages = pagesOf<TrashList[number]>(last => {
        const start = last && { after: keyBytesOf(last) ?? last.key, afterFid: last.fid }
        return api.listTrash(domain, { prefix, ...start, limit: pageSize }, { signal })
      })
      for await (const files of pages) {
        await out.lines(files.map(file => (json ? JSON.stringify(file) : line(file))))
      }
    }),
  )
}

function addEmpty(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(
      group,
      'empty',
      'delete all files in the trash of a domain for good, which frees their space',
      'the Purged',
    ),
  ).argument('<DOMAIN:>')
  command.action((address: string, options: DestructiveOptions) =>
    cli.run(command, options, async session => {
      const { domain, key } = parseAddress(address)
      if (key !== '') {
        const whole = JSON.stringify(address.slice(0, -key.length))
        throw new UsageError(`the trash can only be emptied as a whole: ${whole}`)
      }
      const { api, signal, out, json } = session
      const what = `empty the trash of ${printable(domain)}`
      const change = { action: 'trash.empty', domain } as const
      if (!(await mayDestroy(what, options, session, change))) return
      const answer = await api.emptyTrash(domain, { signal })
      if (json) await out.json(answer)
      else await out.write(`${plural(answer.count, 'file')} deleted for good\n`)
    }),
  )
}

const keyBytesOf = ({ keyBytes }: TrashList[number]): Buffer | undefined =>
  keyBytes === undefined ? undefined : Buffer.from(keyBytes, 'base64url')

function line(file: TrashList[number]): string {
  const { fid, size, expiresAt, key } = file
  const columns = [
    String(fid).padStart(10),
    formatBytes(size).padStart(8),
    `until ${expiresAt.slice(0, 19)}Z`,
    printableKey({ key, keyBytes: keyBytesOf(file) }),
  ]
  return columns.join('  ')
}
