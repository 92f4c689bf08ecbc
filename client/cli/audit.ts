/** `omg audit`: who changed what. */
import { InvalidArgumentError, type Command } from 'commander'
import type { AuditTrail } from '../../common/protocol/upkeep.ts'
import { addressOf } from './address.ts'
import { wholeNumber, type Cli } from './command.ts'
import { pageSize } from './pages.ts'
import type { ConnectionOptions } from './session.ts'
import { printable } from './text.ts'

interface Options extends ConnectionOptions {
  readonly domain?: string
  readonly action?: string
  readonly before?: string
  readonly count: number
}

/** Adds the command. */
export function addAudit(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'audit',
      'show who changed what, newest first; --json also shows the ids of the requests',
      'one entry of AuditTrail per line',
    )
    .option('--domain <DOMAIN>', 'only entries about this domain')
    .option('--action <NAME>', 'only this action, such as file.delete or device.change')
    .option('--before <TIME>', 'only entries older than this, such as 2030-01-31T12:00:00Z', time)
    .option('--count <N>', 'how many entries to show', wholeNumber(1, Number.MAX_SAFE_INTEGER), 100)
  command.action((options: Options) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const { domain, action } = options
      let left = options.count
      let { before } = options
      while (left > 0) {
        const limit = Math.min(left, pageSize)
        const entries = await api.audit({ domain, action, before, limit }, { signal })
        // A page may hold more than was asked for: what happened at one moment is never split.
        const shown = entries.slice(0, left)
        await out.lines(shown.map(entry => (json ? JSON.stringify(entry) : line(entry))))
        left -= shown.length
        before = entries.at(-1)?.at
        if (before === undefined) return
      }
    }),
  )
}

function time(text: string): string {
  const date = new Date(text)
  if (!Number.isNaN(date.getTime()) && /^\d{4}-\d\d-\d\dT/.test(text)) return date.toISOString()
  throw new InvalidArgumentError('It must be a time such as 2030-01-31T12:00:00Z.')
}

function line(entry: AuditTrail[number]): string {
  const { at, actor, tokenId, address, action, domain = '', key, keyBytes, fid, detail } = entry
  const what = [
    key === undefined ? printable(domain) : addressOf({ domain, key, keyBytes }),
    fid === undefined ? '' : `fid ${fid}`,
    ...Object.entries(detail ?? {}).map(
      ([name, value]) => `${printable(name)}=${printable(textOf(value))}`,
    ),
  ]
  const columns = [
    `${at.slice(0, 19)}Z`,
    `${printable(actor)}@${printable(address)}`,
    printable(action),
    what.filter(part => part !== '').join(' '),
    tokenId === undefined ? '' : `token ${tokenId}`,
  ]
  return columns.filter(column => column !== '').join('  ')
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
