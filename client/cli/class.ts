/** `omg class`: the classes of a domain, which say how many copies a file has and where. */
import type { Command } from 'commander'
import type { ChangeClass, ClassInfo } from '../../common/protocol/configuration.ts'
import { changed, choice, wholeNumber, type Cli } from './command.ts'
import { destroys, rehearsed, type DestructiveOptions } from './confirm.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { printable, type Column } from './text.ts'

interface Options extends ConnectionOptions, ChangeClass {}

/** Adds the commands. */
export function addClass(program: Command, cli: Cli): void {
  const group = program
    .command('class')
    .alias('classes')
    .description('manage classes: how many copies the files of a domain have, and where')
  addList(group, cli)
  addAdd(group, cli)
  addModify(group, cli)
  addDelete(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = cli
    .online(
      group,
      'list',
      'list the classes of a domain, or of all domains',
      'an array of ClassInfo; for all domains, of DomainInfo',
    )
    .alias('ls')
    .argument('[DOMAIN]')
  command.action((domain: string | undefined, options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const domains =
        domain === undefined
          ? await api.listDomains({ signal })
          : [{ name: domain, classes: await api.listClasses(domain, { signal }) }]
      if (json) return out.json(domain === undefined ? domains : domains[0]?.classes)
      const rows = domains.flatMap(({ name, classes }) => classes.map(one => rowOf(name, one)))
      await out.table(columns, rows)
    }),
  )
}

function addAdd(group: Command, cli: Cli): void {
  const command = withFields(cli.online(group, 'add', 'create a class', 'the ClassInfo'))
  command.action((domain: string, name: string, options: Options) =>
    cli.run(command, options, async session => {
      const { api, signal } = session
      const created = await api.createClass(domain, { name, ...fieldsOf(options) }, { signal })
      await show(domain, created, session)
    }),
  )
}

function addModify(group: Command, cli: Cli): void {
  const command = withFields(
    cli.online(group, 'modify', 'change a class; what is not given stays', 'the ClassInfo'),
  )
  command.action((domain: string, name: string, options: Options) =>
    cli.run(command, options, async session => {
      const change = changed(fieldsOf(options))
      const { api, signal } = session
      await show(domain, await api.changeClass({ domain, name }, change, { signal }), session)
    }),
  )
}

function addDelete(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(group, 'delete', 'delete a class that no file has', '{ domain, name }'),
  )
    .alias('rm')
    .argument('<DOMAIN>')
    .argument('<CLASS>')
  command.action((domain: string, name: string, options: DestructiveOptions) =>
    cli.run(command, options, async session => {
      const { api, signal, out, json } = session
      const what = `delete class ${printable(name)} of ${printable(domain)}`
      const change = { action: 'class.delete', domain, class: name } as const
      if (await rehearsed(what, options, session, change)) return
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
    .option('--mindevcount <N>', 'number of copies of each file', wholeNumber(1, 255))
    .option('--replpolicy <POLICY>', 'where the copies go, such as MultipleHosts(3)')
    .addOption(choice('--hashtype <TYPE>', 'checksum to keep', ['NONE', 'MD5', 'SHA-1']))
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
