/** `omg class`: how the files of a domain are kept. */
import type { Command } from 'commander'
import type { ChangeClass, ClassInfo } from '../../common/protocol/configuration.ts'
import { choice, wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { UsageError } from './failure.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { printable, type Column } from './text.ts'

interface Options extends ConnectionOptions, ChangeClass {}

/** Adds the commands. */
export function addClass(program: Command, cli: Cli): void {
  const group = program
    .command('class')
    .alias('classes')
    .description('how the files of a domain are kept')

  const list = cli
    .online(
      group,
      'list',
      'show those of a domain, or all',
      'an array of ClassInfo; of all domains, of DomainInfo',
    )
    .alias('ls')
  list.argument('[DOMAIN]')
  list.action((domain: string | undefined, options: ConnectionOptions) =>
    cli.run(list, options, async ({ api, signal, out, json }) => {
      const domains =
        domain === undefined
          ? await api.listDomains({ signal })
          : [{ name: domain, classes: await api.listClasses(domain, { signal }) }]
      if (json) return out.json(domain === undefined ? domains : domains[0]?.classes)
      const rows = domains.flatMap(({ name, classes }) => classes.map(one => rowOf(name, one)))
      await out.table(columns, rows)
    }),
  )

  const add = withFields(cli.online(group, 'add', 'create one', 'the ClassInfo'))
  add.action((domain: string, name: string, options: Options) =>
    cli.run(add, options, async session => {
      const { api, signal } = session
      const created = await api.createClass(domain, { name, ...fieldsOf(options) }, { signal })
      await show(domain, created, session)
    }),
  )

  const modify = withFields(cli.online(group, 'modify', 'change what is named', 'the ClassInfo'))
  modify.action((domain: string, name: string, options: Options) =>
    cli.run(modify, options, async session => {
      const change = fieldsOf(options)
      if (Object.keys(change).length === 0) throw new UsageError('name what to change')
      const { api, signal } = session
      await show(domain, await api.changeClass({ domain, name }, change, { signal }), session)
    }),
  )

  const remove = destroys(
    cli.online(group, 'delete', 'remove one that no file has', '{ domain, name }'),
  )
    .alias('rm')
    .argument('<DOMAIN>')
    .argument('<CLASS>')
  remove.action((domain: string, name: string, options: DestructiveOptions) =>
    cli.run(remove, options, async session => {
      const { api, signal, out, json } = session
      if (options.dryRun) {
        const what = `delete class ${printable(name)} of ${printable(domain)}`
        const change = { action: 'class.delete', domain, class: name } as const
        await mayDestroy(what, options, session, change)
        return
      }
      await api.deleteClass({ domain, name }, { signal })
      if (json) await out.json({ domain, name })
      else await out.write(`${printable(domain)} ${printable(name)}  deleted\n`)
    }),
  )
}

function withFields(command: Command): Command {
  return command
    .argument('<DOMAIN>')
    .argument('<CLASS>')
    .option('--mindevcount <N>', 'copies of each file', wholeNumber(1, 255))
    .option('--replpolicy <POLICY>', 'where they may lie: MultipleHosts(3)')
    .addOption(choice('--hashtype <TYPE>', 'checksum that is kept', ['NONE', 'MD5', 'SHA-1']))
    .option('--ack-copies <N>', 'copies before a MogileFS client is told OK', wholeNumber(1, 16))
}

const fieldsOf = ({ mindevcount, replpolicy, hashtype, ackCopies }: Options): ChangeClass => ({
  ...(mindevcount !== undefined && { mindevcount }),
  ...(replpolicy !== undefined && { replpolicy }),
  ...(hashtype !== undefined && { hashtype }),
  ...(ackCopies !== undefined && { ackCopies }),
})

async function show(domain: string, info: ClassInfo, { out, json }: Session): Promise<void> {
  if (json) await out.json(info)
  else await out.table(columns, [rowOf(domain, info)])
}

const rowOf = (
  domain: string,
  { name, mindevcount, replpolicy, hashtype, ackCopies }: ClassInfo,
): string[] => [domain, name, String(mindevcount), replpolicy, hashtype, String(ackCopies)]

const columns: readonly Column[] = [
  { title: 'DOMAIN', shrink: true },
  { title: 'CLASS', shrink: true },
  { title: 'COPIES', right: true },
  { title: 'POLICY', shrink: true },
  { title: 'CHECKSUM' },
  { title: 'ACK', right: true },
]
