/** `omg setting`: settings of the whole cluster. */
import type { Command } from 'commander'
import type { Cli } from './command.ts'
import type { ConnectionOptions } from './session.ts'
import { printable } from './text.ts'

/** Adds the commands. */
export function addSetting(program: Command, cli: Cli): void {
  const group = program
    .command('setting')
    .alias('settings')
    .description('manage the settings of the whole cluster')

  const list = cli
    .online(group, 'list', 'list the settings that were changed', 'the Settings: values by name')
    .alias('ls')
  list.action((options: ConnectionOptions) =>
    cli.run(list, options, async ({ api, signal, out, json }) => {
      const settings = await api.listSettings({ signal })
      if (json) return out.json(settings)
      const rows = Object.entries(settings).sort(([a], [b]) => (a < b ? -1 : 1))
      await out.table([{ title: 'SETTING' }, { title: 'VALUE', shrink: true }], rows)
    }),
  )

  const set = cli
    .online(group, 'set', 'change a setting', '{ NAME: VALUE }')
    .argument('<NAME>')
    .argument('<VALUE>')
  set.action((name: string, value: string, options: ConnectionOptions) =>
    cli.run(set, options, async ({ api, signal, out, json }) => {
      await api.putSetting(name, value, { signal })
      if (json) await out.json({ [name]: value })
      else await out.write(`${printable(name)} = ${printable(value)}\n`)
    }),
  )

  const unset = cli
    .online(group, 'unset', 'reset a setting to its default', '{ name }')
    .argument('<NAME>')
  unset.action((name: string, options: ConnectionOptions) =>
    cli.run(unset, options, async ({ api, signal, out, json }) => {
      await api.deleteSetting(name, { signal })
      if (json) await out.json({ name })
      else await out.write(`${printable(name)}  unset\n`)
    }),
  )
}
