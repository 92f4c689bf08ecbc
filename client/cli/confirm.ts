/** What cannot be undone: asked before, or only rehearsed. */
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

/** Adds those options. `answer` is what `mayDestroy` prints with `--json --dry-run`; '': others do. */
export function destroys(command: Command, answer = '{ dryRun, would, …Consequences }'): Command {
  const json = jsonAnswerOf(command)
  if (json !== undefined && answer !== '') withJson(command, `${json}; with --dry-run ${answer}`)
  return command
    .option('--yes', 'do not ask')
    .option('--dry-run', 'only say what would be done, or why it would be refused')
}

/**
 * True when `what` (as in "really …?") may be done: `--yes` was given, or the person at the terminal
 * says so. False with `--dry-run`, after that has been said. With `change` the tracker is asked what
 * that would cost, which is said, too. Throws UsageError where nobody can be asked, CommandFailure
 * when the answer is no, and what the tracker would refuse the change with.
 */
export async function mayDestroy(
  what: string,
  { yes = false, dryRun = false }: DestructiveOptions,
  session: Session,
  change?: Rehearsal,
): Promise<boolean> {
  if (yes && !dryRun) return true
  const { api, signal, out, json, host } = session
  if (!dryRun && !(host.stdin.isTTY && host.stderr.isTTY)) {
    throw new UsageError(`without a terminal it needs --yes to ${what}`)
  }
  const cost = change ? await api.rehearse(change, { signal }) : {}
  const losses = lossesOf(cost).join('; ')
  const text = losses === '' ? what : `${what} (${losses})`
  if (dryRun) {
    if (json) await out.json({ dryRun: true, would: what, ...cost })
    else await out.write(`would ${text}\n`)
    return false
  }
  const answer = await readAnswer(`Really ${text}? [y/N] `, { host, signal })
  if (!/^y(es)?$/i.test(answer)) throw new CommandFailure('not confirmed, nothing was done')
  return true
}

function lossesOf({ files, bytes = 0, lastCopies, uploads, trash }: Consequences): string[] {
  return [
    ...(files === undefined ? [] : [`${plural(files, 'file')}, ${formatBytes(bytes)}`]),
    ...(lastCopies ? [`${plural(lastCopies, 'file')} of them with no other copy`] : []),
    ...(uploads ? [`${plural(uploads, 'open upload')} given up`] : []),
    ...(trash ? [`${plural(trash, 'deleted file')} gone for good`] : []),
  ]
}
