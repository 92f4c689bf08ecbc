/** Commands that destroy something: they ask before they do it, or with `--dry-run` only rehearse it. */
import type { Command } from 'commander'
import type { Consequences, Rehearsal } from '../../common/protocol/rehearsal.ts'
import { jsonAnswerOf, withJson } from './command.ts'
import { CommandFailure, UsageError } from './failure.ts'
import { readAnswer } from './prompt.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, plural } from './text.ts'

/** Options of a command that destroys something. */
export interface DestructiveOptions extends ConnectionOptions {
  readonly yes?: boolean
  readonly dryRun?: boolean
}

/**
 * Adds those options to `command`. `answer` says what it prints with `--json --dry-run`; pass '' when
 * the JSON answer of the command says that already.
 */
export function destroys(command: Command, answer = '{ dryRun, would, …Consequences }'): Command {
  const json = jsonAnswerOf(command)
  if (json !== undefined && answer !== '') withJson(command, `${json}; with --dry-run ${answer}`)
  return command
    .option('--yes', 'do not ask for confirmation')
    .option('--dry-run', 'only show what would be done, or why it would be refused')
}

/**
 * With `--dry-run`: prints what would be done and returns true, so that the caller stops there. `what`
 * is a phrase such as `delete host node1`. With `change` the tracker adds what the change would cost;
 * throws what the tracker would refuse the change with. Without `--dry-run`: returns false at once.
 */
export async function rehearsed(
  what: string,
  { dryRun = false }: DestructiveOptions,
  session: Session,
  change?: Rehearsal,
): Promise<boolean> {
  if (!dryRun) return false
  const { out, json } = session
  const cost = await costOf(change, session)
  if (json) await out.json({ dryRun: true, would: what, ...cost })
  else await out.write(`would ${withCost(what, cost)}\n`)
  return true
}

/**
 * True when the caller may go on: `--yes` was given, or the person at the terminal agrees to `what`.
 * False after a rehearsal. Throws UsageError where there is no terminal to ask at, CommandFailure when
 * the person does not agree, and what `rehearsed` throws.
 */
export async function mayDestroy(
  what: string,
  options: DestructiveOptions,
  session: Session,
  change?: Rehearsal,
): Promise<boolean> {
  if (await rehearsed(what, options, session, change)) return false
  if (options.yes) return true
  const { signal, host } = session
  if (!(host.stdin.isTTY && host.stderr.isTTY)) {
    throw new UsageError(`without a terminal it needs --yes to ${what}`)
  }
  const question = withCost(what, await costOf(change, session))
  const answer = await readAnswer(`Really ${question}? [y/N] `, { host, signal })
  if (!/^y(es)?$/i.test(answer)) throw new CommandFailure('not confirmed, nothing was done')
  return true
}

async function costOf(
  change: Rehearsal | undefined,
  { api, signal }: Session,
): Promise<Consequences> {
  return change ? await api.rehearse(change, { signal }) : {}
}

function withCost(
  what: string,
  { files, bytes = 0, lastCopies, uploads, trash }: Consequences,
): string {
  const losses = [
    ...(files === undefined ? [] : [`${plural(files, 'file')}, ${formatBytes(bytes)}`]),
    ...(lastCopies ? [`${plural(lastCopies, 'file')} of them with no other copy`] : []),
    ...(uploads ? [`${plural(uploads, 'open upload')} given up`] : []),
    ...(trash ? [`${plural(trash, 'deleted file')} gone for good`] : []),
  ]
  return losses.length === 0 ? what : `${what} (${losses.join('; ')})`
}
