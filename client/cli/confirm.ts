/** What cannot be undone: asked before, or only rehearsed. */
import type { Command } from 'commander'
import { CommandFailure, UsageError } from './failure.ts'
import { readAnswer } from './prompt.ts'
import type { ConnectionOptions, Session } from './session.ts'

/** Options of a command that destroys something. */
export interface DestructiveOptions extends ConnectionOptions {
  readonly yes?: boolean
  readonly dryRun?: boolean
}

/** Adds those options. */
export function destroys(command: Command): Command {
  return command.option('--yes', 'do not ask').option('--dry-run', 'only say what would be done')
}

/**
 * True when `what` (as in "really …?") may be done: `--yes` was given, or the person at the terminal
 * says so. False with `--dry-run`, after that has been said. Throws UsageError where nobody can be
 * asked, CommandFailure when the answer is no.
 */
export async function mayDestroy(
  what: string,
  { yes = false, dryRun = false }: DestructiveOptions,
  session: Session,
): Promise<boolean> {
  const { out, json } = session
  if (dryRun) {
    if (json) await out.json({ dryRun: true, would: what })
    else await out.write(`would ${what}\n`)
    return false
  }
  if (!yes) await ask(what, session)
  return true
}

async function ask(what: string, { host, signal }: Session): Promise<void> {
  const { stdin, stderr } = host
  if (!stdin.isTTY || !stderr.isTTY) {
    throw new UsageError(`without a terminal it needs --yes to ${what}`)
  }
  const answer = await readAnswer(`Really ${what}? [y/N] `, { host, signal })
  if (!/^y(es)?$/i.test(answer)) throw new CommandFailure('not confirmed, nothing was done')
}
