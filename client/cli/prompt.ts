/** Questions to the person at the terminal. They are printed on standard error. */
import { createInterface } from 'node:readline'
import type { Session } from './session.ts'

type Terminal = Pick<Session, 'host' | 'signal'>

/**
 * Asks `question` and returns the line that is typed, trimmed; '' at the end of the input. Editing is
 * left to the terminal, so that Ctrl-C still sends its signal. Throws the signal's reason.
 */
export async function readAnswer(
  question: string,
  { host: { stdin, stderr }, signal }: Terminal,
): Promise<string> {
  stderr.write(question)
  const lines = createInterface({ input: stdin, terminal: false })
  const close = (): void => lines.close()
  signal.addEventListener('abort', close, { once: true })
  const answer = await new Promise<string | undefined>(resolve => {
    lines.once('line', resolve)
    lines.once('close', () => resolve(undefined))
  })
  signal.removeEventListener('abort', close)
  close()
  if (answer === undefined) stderr.write('\n') // Enter was not pressed, so the line goes on
  signal.throwIfAborted()
  return answer?.trim() ?? ''
}

/** Asks `question` and returns what is typed, without showing it. Throws the signal's reason. */
export async function readSecret(question: string, { host, signal }: Terminal): Promise<string> {
  const { stdin, stderr } = host
  stderr.write(question)
  stdin.setRawMode(true)
  try {
    return await readHidden(stdin, signal)
  } finally {
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}

/** Reads up to Enter from a raw terminal. There, Ctrl-C and Ctrl-D arrive as characters. */
function readHidden(stdin: NodeJS.ReadStream, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let typed = ''
    const onAbort = (): void => end(() => reject(signal.reason as Error))
    const onData = (data: Buffer): void => {
      for (const char of data.toString('utf8')) {
        if (char === '\x03') process.kill(process.pid, 'SIGINT')
        else if (char === '\r' || char === '\n' || char === '\x04') return end(() => resolve(typed))
        else if (char === '\x7f' || char === '\b') typed = typed.slice(0, -1)
        else typed += char
      }
    }
    function end(settle: () => void): void {
      stdin.off('data', onData)
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    stdin.on('data', onData)
  })
}
