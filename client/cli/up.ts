/** `omg up`: the whole system on this machine. */
import { Option, type Command } from 'commander'
import { ConfigError, parseAddress } from '../../common/address.ts'
import type { LogLevel } from '../../common/log.ts'
import { oneOf, wholeNumber, type Cli } from './command.ts'

const logLevels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'silent']

/** The first node listens this far above the port base, the others ten ports apart; each uses two ports. */
const nodeOffset = 500
const nodeStep = 10

interface Options {
  readonly data: string
  readonly portBase: number
  readonly hosts: number
  readonly devices: number
  readonly databaseUrl?: string
  readonly app?: string
  readonly open?: boolean
  readonly json?: boolean
  readonly separate?: boolean
  readonly logLevel: LogLevel
}

/** Adds the command. */
export function addUp(program: Command, { host }: Cli): void {
  program
    .command('up')
    .description('run the whole system on this machine, with a photo application as an example')
    .option('--data <DIR>', 'directory for all its files', './data')
    .option(
      '--port-base <P>',
      'MogileFS protocol on P+1, HTTP on P+2, reproxy on P+80, nodes on P+500, P+510, …; 0: free ports',
      wholeNumber(0, 65535),
      7000,
    )
    .option('--hosts <N>', 'number of storage nodes', wholeNumber(1, 50), 3)
    .option('--devices <N>', 'devices of each storage node', wholeNumber(1, 50), 2)
    .option('--database-url <URL>', 'Postgres to use instead of its own (or DATABASE_URL)')
    .option('--app <HOST:PORT>', 'web application behind the reproxy, instead of the example')
    .option('--open', 'let nodes accept unsigned requests, as those of MogileFS do')
    .option('--json', 'print one line of JSON with all addresses once everything is up')
    .option('--separate', 'run each daemon in its own process')
    .addOption(
      new Option('--log-level <LEVEL>', logLevels.join(', '))
        .argParser(oneOf(logLevels))
        .default('warn'),
    )
    .action(async (options: Options) => {
      const { portBase, hosts, app } = options
      const highest = portBase + nodeOffset + nodeStep * (hosts - 1) + 1
      if (portBase > 0 && highest > 65535) {
        throw new ConfigError(`--port-base: the last of ${hosts} hosts would need port ${highest}`)
      }
      if (app !== undefined) parseAddress('--app', app)
      const databaseUrl = options.databaseUrl ?? host.env['DATABASE_URL']
      const { up } = await import('../../deploy/up.ts')
      await up({
        data: options.data,
        portBase,
        hosts,
        devices: options.devices,
        ...(databaseUrl && { databaseUrl }),
        ...(app !== undefined && { app }),
        open: options.open ?? false,
        json: options.json ?? false,
        separate: options.separate ?? false,
        logLevel: options.logLevel,
      })
    })
}
