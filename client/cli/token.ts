/** `omg token`: API tokens, which say who may do what. */
import { Option, type Command } from 'commander'
import { CodedError } from '../../common/errors.ts'
import type { TokenScope } from '../../common/protocol/configuration.ts'
import type { TrackerApi } from '../tracker-api/index.ts'
import { oneOf, wholeNumber, type Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { UsageError } from './failure.ts'
import type { ConnectionOptions } from './session.ts'
import { printable } from './text.ts'

const scopes: readonly TokenScope[] = ['admin', 'write', 'read']

interface AddOptions extends ConnectionOptions {
  readonly scope: TokenScope
  readonly domain?: string
  readonly rate?: number
}

/** Adds the commands. */
export function addToken(program: Command, cli: Cli): void {
  const group = program
    .command('token')
    .alias('tokens')
    .description('manage API tokens: who may do what')
  addList(group, cli)
  addAdd(group, cli)
  addDelete(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'list', 'list the tokens, without their text', 'an array of TokenInfo')
    .alias('ls')
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const tokens = await api.listTokens({ signal })
      if (json) return out.json(tokens)
      await out.table(
        ['ID', 'NAME', 'SCOPE', 'DOMAIN', 'RATE', 'CREATED'].map(title => ({ title })),
        tokens.map(({ id, name, scope, domain, rate, createdAt }) => [
          String(id),
          name,
          scope,
          domain ?? '-',
          rate === null ? '-' : `${rate}/s`,
          createdAt,
        ]),
      )
    }),
  )
}

function addAdd(group: Command, cli: Cli): void {
  const command = cli
    .online(
      group,
      'add',
      'create a token and print its text, which is never shown again',
      'the CreatedToken',
    )
    .argument('<NAME>')
    .addOption(
      new Option('--scope <SCOPE>', `what the token allows: ${scopes.join(', ')}`)
        .argParser(oneOf(scopes))
        .makeOptionMandatory(),
    )
    .option('--domain <DOMAIN>', 'the domain that it may write or read')
    .option(
      '--rate <N>',
      'requests per second that each tracker accepts with it; else any number',
      wholeNumber(1, 1_000_000),
    )
  command.action((name: string, options: AddOptions) =>
    cli.run(command, options, async session => {
      const { scope, domain, rate } = options
      if ((scope === 'admin') !== (domain === undefined)) {
        const text = scope === 'admin' ? 'goes without' : 'needs'
        throw new UsageError(`--scope ${scope} ${text} --domain`)
      }
      const { api, signal, out, json } = session
      const fields = {
        name,
        scope,
        ...(domain !== undefined && { domain }),
        ...(rate !== undefined && { rate }),
      }
      const created = await api.createToken(fields, { signal })
      if (json) await out.json(created)
      else await out.write(`${created.token}\n`)
    }),
  )
}

function addDelete(group: Command, cli: Cli): void {
  const command = destroys(
    cli.online(group, 'delete', 'delete a token, which then stops working', '{ id }'),
  )
    .alias('rm')
    .argument('<ID|NAME>')
  command.action((which: string, options: DestructiveOptions) =>
    cli.run(command, options, async session => {
      const { api, signal, out, json } = session
      if (options.dryRun) await idOf(which, api, signal)
      if (!(await mayDestroy(`delete token ${printable(which)}`, options, session))) return
      const id = /^\d{1,9}$/.test(which) ? Number(which) : await idOf(which, api, signal)
      await api.deleteToken(id, { signal })
      if (json) await out.json({ id })
      else await out.write(`${printable(which)}  deleted\n`)
    }),
  )
}

async function idOf(which: string, api: TrackerApi, signal: AbortSignal): Promise<number> {
  const token = (await api.listTokens({ signal })).find(
    ({ id, name }) => name === which || String(id) === which,
  )
  if (!token) throw new CodedError('token_not_found', `no token ${JSON.stringify(which)}`)
  return token.id
}
