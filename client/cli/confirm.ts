/** Asking before something is done that cannot be undone. */
import { createInterface } from 'node:readline'
import { CommandFailure, UsageError } from './failure.ts'
import type { Session } from './session.ts'

/**
 * Resolves when it may be done: `yes` was given, or the person at the terminal says so. Throws
 * UsageError where there is neither, CommandFailure when the answer is no.
 */
export async function confirm(
  { host, signal }: Pick<Session, 'host' | 'signal'>,
  {
    what,
    yes = false,
  }: { /** As in "really …?" */ readonly what: string; readonly yes?: boolean | undefined },
): Promise<void> {
  if (yes) return
  const { stdin, stderr } = host
  if (!stdin.isTTY || !stderr.isTTY) {
    throw new UsageError(`without a terminal it needs --yes to ${what}`)
  }
  stderr.write(`Really ${what}? [y/N] `)
  // Not as a terminal: the terminal itself does the editing then, and Ctrl-C is a signal.
  const lines = createInterface({ input: stdin, terminal: false })
  const close = (): void => lines.close()
  signal.addEventListener('abort', close, { once: true })
  const answer = await new Promise<string>(resolve => {
    lines.once('line', resolve)
    lines.once('close', () => resolve(''))
  })
  signal.removeEventListener('abort', close)
  close()
  signal.throwIfAborted()
  if (!/^y(es)?$/i.test(answer.trim())) throw new CommandFailure('not confirmed, nothing was done')
}
