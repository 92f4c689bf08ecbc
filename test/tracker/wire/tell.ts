import type { Talk } from './talk.ts'

/** Sends a console line; the lines of the answer before the dot, without those for watchers. */
export async function tell(talk: Talk, line: string): Promise<string[]> {
  const answer: string[] = []
  for (let sent = `${line}\r\n`; ; sent = '') {
    const [next = ''] = await talk.exchange(sent, 1)
    if (next === '.') return answer
    if (!next.startsWith(':: ')) answer.push(next)
  }
}

/** How many do a job and how many are to, as `!jobs` says. */
export async function jobOf(
  talk: Talk,
  name: string,
): Promise<{ count: number; desired: number; pids: string }> {
  const lines = await tell(talk, '!jobs')
  const valueOf = (what: string): string => {
    const line = lines.find(one => one.startsWith(`${name} ${what} `))
    if (line === undefined) throw new Error(`no ${what} of ${name} in ${lines.join('|')}`)
    return line.slice(name.length + what.length + 2)
  }
  return {
    count: Number(valueOf('count')),
    desired: Number(valueOf('desired')),
    pids: valueOf('pids'),
  }
}
