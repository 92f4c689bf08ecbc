/** The part of `omg doctor` that fetches a page of the site behind the reproxy, as browsers do. */
import { askHttp, whyFailed, type Answer } from './ask-http.ts'
import { ok, problem, warning, type Finding } from './finding.ts'

/** Header fields that an application sends to the proxy in front of it, and that browsers must not see. */
const inner = ['x-reproxy-url', 'x-reproxy-file', 'x-reproxy-expected-size', 'x-accel-redirect']

/** Fetches `url` and checks the answer. */
export async function checkSite(url: string, signal: AbortSignal): Promise<Finding[]> {
  let answer: Answer
  try {
    answer = await askHttp(url, { signal })
  } catch (err) {
    signal.throwIfAborted()
    const advice = 'start omg reproxy and the application, or open the port'
    return [problem('site', `cannot be reached: ${whyFailed(err)}`, advice)]
  }
  const leaked = inner.filter(name => answer.headers[name] !== undefined)
  if (leaked.length > 0) {
    const advice = 'let browsers reach the application only through omg reproxy'
    return [problem('site', `shows ${leaked.join(', ')} to everybody`, advice)]
  }
  if (answer.status >= 500) {
    const advice = 'the log of the reproxy says which application or storage node failed'
    return [problem('site', `answers ${answer.status}`, advice)]
  }
  if (answer.headers['via'] === undefined) {
    return [
      warning(
        'site',
        `answers ${answer.status} without a Via field: there is no reproxy on the way, or a proxy in front of it drops the field`,
        'give the URL of the reproxy; a balancer in front of it should pass on Via and X-Request-Id',
      ),
    ]
  }
  return [ok('site', `answers ${answer.status} through ${String(answer.headers['via'])}`)]
}
