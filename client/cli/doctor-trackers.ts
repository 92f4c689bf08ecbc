/** The part of `omg doctor` that checks each tracker, and the database behind it. */
import { stat } from 'node:fs/promises'
import { outcomeOf } from './failure.ts'
import { askHttp, whyFailed } from './ask-http.ts'
import { judgeClock, ok, problem, warning, type Finding } from './finding.ts'
import type { Session } from './session.ts'

/** Milliseconds for an answer from the database above which there is a warning, or a problem. */
const databaseMs = { warning: 100, problem: 1_000 }

/** How often the database is asked. The fastest answer counts, since the first may have to connect. */
const databaseTries = 3

export interface TrackerFacts {
  readonly findings: Finding[]
  /** At least one tracker answered with the token, so that more can be asked. */
  readonly answered: boolean
  /** Seconds by which the clock of the first tracker that answered is ahead of ours. */
  readonly clockSeconds: number | undefined
}

/** Checks the trackers of the session, one after the other. */
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
      warning(
        'versions',
        `trackers differ: ${list}`,
        'upgrade all to the newest of these versions',
      ),
    )
  }
  if (session.trackers.length === 1) {
    findings.push(
      warning(
        'trackers',
        'there is only one: when it is down, nothing can be put or found',
        'run a second one, and name both with --trackers, OMG_TRACKERS or omg login',
      ),
    )
  }
  return { findings, answered: versions.size > 0, clockSeconds }
}

async function checkTracker(
  tracker: string,
  session: Session,
): Promise<{ findings: Finding[]; clockSeconds?: number | undefined; version?: string }> {
  const { signal } = session
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
    findings.push(judgeClock(tracker, clockSeconds, 'that of this machine'))
  }
  const open = await askHttp(new URL('/v1/status', tracker).href, { signal })
  if (open.status !== 401) {
    findings.push(
      problem(
        tracker,
        `answers ${open.status} without a token, not 401`,
        'a proxy in between adds a token, which makes everybody an administrator: remove it',
      ),
    )
  }
  try {
    const asked = await askWithToken(tracker, clockSeconds ?? 0, session)
    return { findings: [...findings, ...asked.findings], clockSeconds, version: asked.version }
  } catch (err) {
    signal.throwIfAborted()
    const advice =
      'the log of that tracker may say more; the token comes from --token-file or OMG_TOKEN'
    findings.push(problem(tracker, outcomeOf(err).text ?? '', advice))
    return { findings, clockSeconds }
  }
}

/** Checks that the tracker accepts the token, and how it gets along with its database. */
function askWithToken(
  tracker: string,
  clockSeconds: number,
  { askOne, signal }: Session,
): Promise<{ findings: Finding[]; version: string }> {
  return askOne(tracker, async api => {
    const { version } = await api.status({ signal })
    let fastest = Infinity
    let now = ''
    for (let tries = 0; tries < databaseTries; tries++) {
      const startedAt = performance.now()
      now = (await api.fsckStatus({ signal })).now
      fastest = Math.min(fastest, performance.now() - startedAt)
    }
    const databaseClock = (Date.parse(now) - Date.now()) / 1000 - clockSeconds
    return {
      version,
      findings: [
        ok(tracker, `answers, accepts the token, version ${version}`),
        judgeDatabase(tracker, fastest),
        judgeClock('database', databaseClock, tracker),
      ],
    }
  })
}

function judgeDatabase(tracker: string, ms: number): Finding {
  const text = `answers ${tracker} within ${ms.toFixed(1)} ms`
  if (ms <= databaseMs.warning) return ok('database', text)
  const advice = 'check the load of Postgres, and the network between it and the tracker'
  return ms > databaseMs.problem
    ? problem('database', text, advice)
    : warning('database', text, advice)
}

/** Checks that only its owner can read the file with the token, where there is one. */
export async function checkTokenFile(path: string | undefined): Promise<Finding[]> {
  if (path === undefined || process.platform === 'win32') return []
  const { mode } = await stat(path)
  return (mode & 0o077) === 0
    ? [ok('token', `only its owner can read ${path}`)]
    : [problem('token', `others can read ${path}`, `run chmod 600 ${path}, and replace the token`)]
}
