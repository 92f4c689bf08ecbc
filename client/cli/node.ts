/** `omg node`: storage nodes, asked themselves. */
import type { Command } from 'commander'
import type { HostStatus } from '../../common/protocol/configuration.ts'
import { choice, type Cli } from './command.ts'
import { CommandFailure } from './failure.ts'
import { hostStatuses } from './host.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatAddress } from '../../common/address.ts'
import { plural } from './text.ts'

interface AddOptions extends ConnectionOptions {
  readonly name?: string
  readonly status: HostStatus
}

/** Adds the commands. */
export function addNode(program: Command, cli: Cli): void {
  const group = program.command('node').description('storage nodes')

  const add = cli
    .online(
      group,
      'add',
      'ask a storage node what it is, register it and its devices',
      '{ host: HostInfo, created, devices, added }, the last two as numbers of devices',
    )
    .argument('<URL>', 'http://10.0.0.5:7500')
    .option('--name <NAME>', 'name of the host; what the node calls itself')
    .addOption(choice('--status <STATUS>', 'of the host', hostStatuses).default('alive'))
  add.action((url: string, options: AddOptions) =>
    cli.run(add, options, session => addOne(url, options, session)),
  )

  const key = cli
    .online(
      group,
      'key',
      'print the secret for the --secret-file of the node of this name',
      'the HostKey',
    )
    .argument('<NAME>')
  key.action((name: string, options: ConnectionOptions) =>
    cli.run(key, options, async ({ api, signal, out, json }) => {
      const answer = await api.hostKey(name, { signal })
      if (json) await out.json(answer)
      else await out.write(`${answer.secret}\n`)
    }),
  )
}

/** Registers what is not registered yet. All that speaks against it is found before. */
async function addOne(url: string, options: AddOptions, session: Session): Promise<void> {
  const { signal, out, json } = session
  const { askNode } = await import('./node-answer.ts') // schemas take long to load
  const node = await askNode(url, signal)
  const { api } = session
  const name = options.name ?? node.name
  const [hosts, devices] = await Promise.all([
    api.listHosts({ signal }),
    api.listDevices({ signal }),
  ])
  const address = formatAddress({ host: node.ip, port: node.port })
  const known = hosts.find(host => host.name === name)
  if (known && (known.ip !== node.ip || known.port !== node.port)) {
    const at = formatAddress({ host: known.ip, port: known.port })
    throw new CommandFailure(`host ${name} is registered at ${at}, not ${address}`)
  }
  const elsewhere = devices.find(({ devid, host }) => node.devices.includes(devid) && host !== name)
  if (elsewhere) {
    throw new CommandFailure(
      `${address} has a dev${elsewhere.devid}, and so has host ${elsewhere.host}: numbers of devices are unique in the cluster`,
    )
  }

  const host =
    known ??
    (await api.createHost(
      { name, ip: node.ip, port: node.port, status: options.status },
      { signal },
    ))
  const missing = node.devices.filter(devid => devices.every(device => device.devid !== devid))
  for (const devid of missing) await api.createDevice({ devid, host: name }, { signal })
  if (json) return out.json({ host, created: !known, devices: node.devices, added: missing })
  const numbers = missing.map(devid => `dev${devid}`).join(' ')
  const news = [
    known ? `host ${name} was registered already` : `host ${name} registered at ${address}`,
    missing.length > 0
      ? `${plural(missing.length, 'device')} added: ${numbers}`
      : node.devices.length > 0
        ? 'no new devices'
        : 'it has no devices yet: make directories dev1, dev2, … and call this again',
  ]
  await out.write(`${news.join('; ')}\n`)
}
