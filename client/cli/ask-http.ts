/** One GET to a service, as `omg doctor` looks at it from here. */
import { readText } from '../answers.ts'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Cut at 64 KiB. */
  readonly text: string
  /** Milliseconds until all of it was there. */
  readonly ms: number
  /** Seconds that its clock is ahead of ours, by its Date field; undefined without one. */
  readonly clockSeconds: number | undefined
}

/** Milliseconds that a service has to answer. */
const answerMs = 5_000

/** Asks once, following no redirect. Rejects with what the network says, or the signal's reason. */
export async function askHttp(
  url: string,
  { signal, headers = {} }: { signal: AbortSignal; headers?: Record<string, string> },
): Promise<Answer> {
  const { Agent, request } = await import('undici') // half of the time that omg takes to start
  const dispatcher = new Agent({ connect: { timeout: answerMs } })
  try {
    const startedAt = Date.now()
    const deadline = AbortSignal.timeout(answerMs)
    const answer = await request(url, {
      dispatcher,
      headers,
      signal: AbortSignal.any([signal, deadline]),
    })
    const text = await readText(answer.body)
    const endedAt = Date.now()
    const date = Date.parse(String(answer.headers['date'] ?? ''))
    // The field says the second that had begun: half of one later on average.
    const clockSeconds = Number.isNaN(date)
      ? undefined
      : (date + 500 - (startedAt + endedAt) / 2) / 1000
    return {
      status: answer.statusCode,
      headers: answer.headers,
      text,
      ms: endedAt - startedAt,
      clockSeconds,
    }
  } catch (err) {
    signal.throwIfAborted()
    throw err
  } finally {
    await dispatcher.destroy()
  }
}

/** Why a request failed, in a few words. */
export function whyFailed(err: unknown): string {
  const { code, message, name } = err as NodeJS.ErrnoException
  if (name === 'TimeoutError') return 'no answer within 5 s'
  return message || code || 'no connection'
}
