/** `omg node`: adding storage nodes. */
import type { Command } from 'commander'
import type { HostStatus } from '../../common/protocol/configuration.ts'
import { choice, type Cli } from './command.ts'
import { CommandFailure } from './failure.ts'
import { hostStatuses } from './host.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatAddress } from '../../common/address.ts'
import { deviceNames, plural } from './text.ts'

interface AddOptions extends ConnectionOptions {
  readonly name?: string
  readonly status: HostStatus
}

/** Adds the commands. */
export function addNode(program: Command, cli: Cli): void {
  const group = program.command('node').description('add storage nodes to the cluster')

  const add = cli
    .online(
      group,
      'add',
      'ask a storage node for its name and devices, and register them',
      '{ host: HostInfo, created, devices, added }, the last two as device numbers',
    )
    .argument('<URL>', 'http://10.0.0.5:7500')
    .option('--name <NAME>', 'name for the host; else the name that the node gives')
    .addOption(choice('--status <STATUS>', 'status of a new host', hostStatuses).default('alive'))
  add.action((url: string, options: AddOptions) =>
    cli.run(add, options, session => addOne(url, options, session)),
  )

  const key = cli
    .online(
      group,
      'key',
      'print the secret for the --secret-file of the storage node called NAME',
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

/** Registers a node and its devices, as far as they are new. Checks everything before it changes anything. */
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
    throw new CommandFailure(
      `host ${name} is registered at ${at}, not at ${address} (omg host modify changes it)`,
    )
  }
  const elsewhere = devices.find(({ devid, host }) => node.devices.includes(devid) && host !== name)
  if (elsewhere) {
    throw new CommandFailure(
      `${address} has a dev${elsewhere.devid}, and so has host ${elsewhere.host}: rename its directory to a number from omg device next`,
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
  const news = [
    known ? `host ${name} was registered already` : `host ${name} registered at ${address}`,
    missing.length > 0
      ? `${plural(missing.length, 'device')} added: ${deviceNames(missing)}`
      : node.devices.length > 0
        ? 'no new devices'
        : 'it has no devices yet: create directories dev1, dev2, … below its --root, and run this again',
  ]
  await out.write(`${news.join('; ')}\n`)
}
