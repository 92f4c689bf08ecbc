/** `omg domain`: the namespaces. */
import type { Command } from 'commander'
import { wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import type { ConnectionOptions } from './session.ts'
import { printable } from './text.ts'

/** Adds the commands. */
export function addDomain(program: Command, cli: Cli): void {
  const group = program.command('domain').alias('domains').description('the namespaces of files')

  const list = cli
    .online(group, 'list', 'show them with their classes', 'an array of DomainInfo')
    .alias('ls')
  list.action((options: ConnectionOptions) =>
    cli.run(list, options, async ({ api, signal, out, json }) => {
      const domains = await api.listDomains({ signal })
      if (json) return out.json(domains)
      await out.table(
        [{ title: 'DOMAIN' }, { title: 'CLASSES', shrink: true }],
        domains.map(({ name, classes }) => [name, classes.map(one => one.name).join(' ')]),
      )
    }),
  )

  const add = cli.online(group, 'add', 'create one', 'the DomainInfo').argument('<DOMAIN>')
  add.action((name: string, options: ConnectionOptions) =>
    cli.run(add, options, async ({ api, signal, out, json }) => {
      const domain = await api.createDomain(name, { signal })
      if (json) await out.json(domain)
      else await out.write(`${printable(name)}  created\n`)
    }),
  )

  const modify = cli
    .online(group, 'modify', 'change what is named', 'the DomainInfo')
    .argument('<DOMAIN>')
    .requiredOption(
      '--trash-seconds <N>',
      'how long deleted files can be had back; 0: not at all',
      wholeNumber(0, 366 * 86400),
    )
  modify.action((name: string, options: ConnectionOptions & { readonly trashSeconds: number }) =>
    cli.run(modify, options, async ({ api, signal, out, json }) => {
      const { trashSeconds } = options
      const domain = await api.changeDomain(name, { trashSeconds }, { signal })
      if (json) await out.json(domain)
      else
        await out.write(
          `${printable(name)}  deleted files can be had back for ${domain.trashSeconds} s\n`,
        )
    }),
  )

  const remove = destroys(cli.online(group, 'delete', 'remove one that holds no files', '{ name }'))
    .alias('rm')
    .argument('<DOMAIN>')
  remove.action((name: string, options: DestructiveOptions) =>
    cli.run(remove, options, async session => {
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
