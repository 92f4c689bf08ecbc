/** The part of `omg doctor` that puts a file, reads every copy and deletes it again. */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { lookAtCopies } from './debug.ts'
import { outcomeOf } from './failure.ts'
import { ok, problem, warning, type Finding } from './finding.ts'
import type { Session } from './session.ts'
import { plural } from './text.ts'

const probeBytes = 256 * 1024

/** Puts the file into `domain`. It is removed again even when the command is interrupted. */
export async function probe(domain: string, session: Session): Promise<Finding[]> {
  const { client, api, signal } = session
  const key = `omg-doctor/${randomUUID()}`
  const bytes = randomBytes(probeBytes)
  let stored = false
  try {
    const startedAt = performance.now()
    const file = await client(domain).put(key, bytes, { durability: 'everywhere', signal })
    stored = true
    const ms = Math.round(performance.now() - startedAt)
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const traces = await api.debugFile({ domain, key }, { signal })
    const copies = await lookAtCopies(traces, { fetch: true, signal })
    const bad = copies.filter(copy => copy.state !== 'good' || copy.sha256 !== sha256)
    const findings = bad.map(({ devid, state, error = '' }) =>
      problem('probe', `the copy on dev${devid} is ${state} ${error}`.trimEnd(), 'check that disk'),
    )
    if (file.reduced !== undefined) {
      const advice = 'add hosts, or lower the mindevcount of the class'
      findings.push(warning('probe', file.reduced, advice))
    }
    const text = `put of ${plural(file.copies, 'flushed copy', 'flushed copies')} in ${ms} ms, all read back`
    return findings.length > 0 ? findings : [ok('probe', text)]
  } catch (err) {
    signal.throwIfAborted()
    const advice = 'the other findings may tell why; omg status shows which devices take files'
    return [
      problem('probe', `a file could not be put and read: ${outcomeOf(err).text ?? ''}`, advice),
    ]
  } finally {
    if (stored) await api.remove({ domain, key }).catch(() => {})
  }
}
