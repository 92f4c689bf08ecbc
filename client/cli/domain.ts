/** `omg domain`: the namespaces. */
import type { Command } from 'commander'
import type { Cli } from './command.ts'
import { confirm } from './confirm.ts'
import type { ConnectionOptions } from './session.ts'
import { formatTable, printable } from './text.ts'

/** Adds the commands. */
export function addDomain(program: Command, cli: Cli): void {
  const group = program.command('domain').alias('domains').description('the namespaces of files')

  const list = cli.online(group, 'list', 'show them with their classes').alias('ls')
  list.action((options: ConnectionOptions) =>
    cli.run(list, options, async ({ api, signal, out, json }) => {
      const domains = await api.listDomains({ signal })
      if (json) return out.json(domains)
      await out.write(
        formatTable(
          [{ title: 'DOMAIN' }, { title: 'CLASSES' }],
          domains.map(({ name, classes }) => [name, classes.map(one => one.name).join(' ')]),
        ),
      )
    }),
  )

  const add = cli.online(group, 'add', 'create one').argument('<DOMAIN>')
  add.action((name: string, options: ConnectionOptions) =>
    cli.run(add, options, async ({ api, signal, out, json }) => {
      const domain = await api.createDomain(name, { signal })
      if (json) await out.json(domain)
      else await out.write(`${printable(name)}  created\n`)
    }),
  )

  const remove = cli
    .online(group, 'delete', 'remove one that holds no files')
    .alias('rm')
    .argument('<DOMAIN>')
    .option('--yes', 'do not ask')
  remove.action((name: string, options: ConnectionOptions & { readonly yes?: boolean }) =>
    cli.run(remove, options, async session => {
      await confirm(session, { what: `delete domain ${printable(name)}`, yes: options.yes })
      const { api, signal, out, json } = session
      await api.deleteDomain(name, { signal })
      if (json) await out.json({ name })
      else await out.write(`${printable(name)}  deleted\n`)
    }),
  )
}
