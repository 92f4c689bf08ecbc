/** `omg audit`: who did what. */
import { InvalidArgumentError, type Command } from 'commander'
import type { AuditTrail } from '../../common/protocol/upkeep.ts'
import { wholeNumber, type Cli } from './command.ts'
import type { ConnectionOptions } from './session.ts'
import { printable, printableKey } from './text.ts'

interface Options extends ConnectionOptions {
  readonly domain?: string
  readonly action?: string
  readonly before?: string
  readonly count: number
}

/** Entries that are asked for at once. */
const pageSize = 1000

/** Adds the command. */
export function addAudit(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'audit',
      'show who did what, newest first; --json tells the request too',
      'one entry of AuditTrail a line',
    )
    .option('--domain <DOMAIN>', 'only what concerns it')
    .option('--action <NAME>', 'only this: file.delete, device.change …')
    .option('--before <TIME>', 'only what is older: 2030-01-31T12:00:00Z', time)
    .option('--count <N>', 'how many to show', wholeNumber(1, Number.MAX_SAFE_INTEGER), 100)
  command.action((options: Options) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const { domain, action } = options
      const query = {
        ...(domain !== undefined && { domain }),
        ...(action !== undefined && { action }),
      }
      let left = options.count
      let { before } = options
      while (left > 0) {
        const entries = await api.audit(
          { ...query, ...(before !== undefined && { before }), limit: Math.min(left, pageSize) },
          { signal },
        )
        const shown = entries.slice(0, left)
        const lines = shown.map(entry => `${json ? JSON.stringify(entry) : line(entry)}\n`)
        if (lines.length > 0) await out.write(lines.join(''))
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
  const { at, actor, tokenId, address, action, domain, key, fid, detail } = entry
  const keyBytes =
    entry.keyBytes === undefined ? undefined : Buffer.from(entry.keyBytes, 'base64url')
  const what = [
    ...(domain !== undefined && key === undefined ? [printable(domain)] : []),
    ...(key === undefined ? [] : [`${printable(domain ?? '')}:${printableKey({ key, keyBytes })}`]),
    ...(fid === undefined ? [] : [`fid ${fid}`]),
    ...Object.entries(detail ?? {}).map(
      ([name, value]) => `${printable(name)}=${printable(textOf(value))}`,
    ),
  ]
  const by = tokenId === undefined ? '' : `token ${tokenId}`
  const who = `${printable(actor)}@${printable(address)}`
  return [`${at.slice(0, 19)}Z`, who, printable(action), what.join(' '), by]
    .filter(column => column !== '')
    .join('  ')
}

const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
