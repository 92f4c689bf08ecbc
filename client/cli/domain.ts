/** `omg domain`: the domains, which are namespaces of files. */
import type { Command } from 'commander'
import { wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import type { ConnectionOptions } from './session.ts'
import { printable } from './text.ts'

/** Adds the commands. */
export function addDomain(program: Command, cli: Cli): void {
  const group = program
    .command('domain')
    .alias('domains')
    .description('manage domains: namespaces of files')
  addList(group, cli)
  addAdd(group, cli)
  addModify(group, cli)
  addDelete(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'list', 'list the domains and their classes', 'an array of DomainInfo')
    .alias('ls')
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const domains = await api.listDomains({ signal })
      if (json) return out.json(domains)
      await out.table(
        [{ title: 'DOMAIN' }, { title: 'CLASSES', shrink: true }],
        domains.map(({ name, classes }) => [name, classes.map(one => one.name).join(' ')]),
      )
    }),
  )
}

function addAdd(group: Command, cli: Cli): void {
  const command = cli.online(group, 'add', 'create a domain', 'the DomainInfo').argument('<DOMAIN>')
  command.action((name: string, options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const domain = await api.createDomain(name, { signal })
      if (json) await out.json(domain)
      else await out.write(`${printable(name)}  created\n`)
    }),
  )
}

function addModify(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'modify', 'change a domain', 'the DomainInfo')
    .argument('<DOMAIN>')
    .requiredOption(
      '--trash-seconds <N>',
      'how long deleted files can be restored; 0: not at all',
      wholeNumber(0, 366 * 86400),
    )
  command.action((name: string, options: ConnectionOptions & { readonly trashSeconds: number }) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const domain = await api.changeDomain(
        name,
        { trashSeconds: options.trashSeconds },
        { signal },
      )
      if (json) return out.json(domain)
      await out.write(
        `${printable(name)}  deleted files can be restored for ${domain.trashSeconds} s\n`,
      )
    }),
  )
}

function addDelete(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(group, 'delete', 'delete a domain that holds no files', '{ name }'),
  )
    .alias('rm')
    .argument('<DOMAIN>')
  command.action((name: string, options: DestructiveOptions) =>
    cli.run(command, options, async session => {
      const { api, signal, out, json } = session
      const what = `delete domain ${printable(name)}`
      const change = { action: 'domain.delete', domain: name } as const
      if (!(await mayDestroy(what, options, session, change))) return
      await api.deleteDomain(name, { signal })
      if (json) await out.json({ name })
      else await out.write(`${printable(name)}  deleted\n`)
    }),
  )
}
