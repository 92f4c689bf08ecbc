/** The part of `omg doctor` that looks at each tracker, and at the database behind it. */
import { stat } from 'node:fs/promises'
import { outcomeOf } from './failure.ts'
import { askHttp, whyFailed } from './ask-http.ts'
import { judgeClock, ok, problem, warning, type Finding } from './finding.ts'
import type { Session } from './session.ts'

/** Milliseconds in which a tracker should have asked its database. */
const databaseMs = { warning: 100, problem: 1_000 }

/** How often the database is asked: the fastest answer counts, since the first one connects. */
const databaseTries = 3

export interface TrackerFacts {
  readonly findings: Finding[]
  /** One of them at least is fit to be asked more. */
  readonly answered: boolean
  /** Seconds that the clock of the first tracker which answered is ahead of ours. */
  readonly clockSeconds: number | undefined
}

/** Looks at them one after another. */
export async function checkTrackers(session: Session): Promise<TrackerFacts> {
  const findings: Finding[] = []
  const versions = new Map<string, string>()
  let clockSeconds: number | undefined
  for (const tracker of session.trackers) {
    const seen = await checkTracker(tracker, session)
    findings.push(...seen.findings)
    clockSeconds ??= seen.clockSeconds
    if (seen.version !== undefined) versions.set(tracker, seen.version)
  }
  if (new Set(versions.values()).size > 1) {
    const list = Array.from(versions, ([tracker, version]) => `${tracker}: ${version}`).join(', ')
    findings.push(
      warning('versions', `trackers differ: ${list}`, 'bring all to the newest of these versions'),
    )
  }
  if (session.trackers.length === 1) {
    findings.push(
      warning(
        'trackers',
        'only one is named: when it is down nothing can be put or found',
        'run a second one and name both in --trackers, OMG_TRACKERS or omg login',
      ),
    )
  }
  return { findings, answered: versions.size > 0, clockSeconds }
}

async function checkTracker(
  tracker: string,
  { signal, askOne }: Session,
): Promise<{ findings: Finding[]; clockSeconds?: number | undefined; version?: string }> {
  const health = await askHttp(new URL('/health', tracker).href, { signal }).catch(
    (err: unknown) => {
      signal.throwIfAborted()
      return whyFailed(err)
    },
  )
  if (typeof health === 'string') {
    const advice = 'start omg tracker there, or open its HTTP port in the firewall'
    return { findings: [problem(tracker, `cannot be reached: ${health}`, advice)] }
  }
  const findings: Finding[] = []
  const { clockSeconds } = health
  if (clockSeconds !== undefined) {
    findings.push(judgeClock(tracker, clockSeconds, 'the one of this machine'))
  }
  const open = await askHttp(new URL('/v1/status', tracker).href, { signal })
  if (open.status !== 401) {
    findings.push(
      problem(
        tracker,
        `answers ${open.status} without a token, not 401`,
        'something in between adds a token: remove it, or everybody is an administrator',
      ),
    )
  }
  try {
    const version = await askOne(tracker, async api => {
      const status = await api.status({ signal })
      findings.push(ok(tracker, `answers, version ${status.version}, and takes the token`))
      let fastest = Infinity
      let now = ''
      for (let tries = 0; tries < databaseTries; tries++) {
        const startedAt = performance.now()
        now = (await api.fsckStatus({ signal })).now
        fastest = Math.min(fastest, performance.now() - startedAt)
      }
      findings.push(judgeDatabase(tracker, fastest))
      const database = (Date.parse(now) - Date.now()) / 1000 - (clockSeconds ?? 0)
      findings.push(judgeClock('database', database, tracker))
      return status.version
    })
    return { findings, clockSeconds, version }
  } catch (err) {
    signal.throwIfAborted()
    const advice = 'the log of that tracker says more; a token comes from --token-file or OMG_TOKEN'
    findings.push(problem(tracker, outcomeOf(err).text ?? '', advice))
    return { findings, clockSeconds }
  }
}

function judgeDatabase(tracker: string, ms: number): Finding {
  const text = `${tracker} has an answer from the database within ${ms.toFixed(1)} ms`
  if (ms <= databaseMs.warning) return ok('database', text)
  const advice = 'look at the load of Postgres and at the network between the two'
  return ms > databaseMs.problem
    ? problem('database', text, advice)
    : warning('database', text, advice)
}

/** A token in a file is for its owner only. */
export async function checkTokenFile(path: string | undefined): Promise<Finding[]> {
  if (path === undefined || process.platform === 'win32') return []
  const { mode } = await stat(path)
  return (mode & 0o077) === 0
    ? [ok('token', `only its owner can read ${path}`)]
    : [problem('token', `others can read ${path}`, `chmod 600 ${path}, and replace the token`)]
}
