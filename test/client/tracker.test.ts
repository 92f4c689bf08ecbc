import type { IncomingMessage, ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import { createTrackerApi, type TrackerApiOptions } from '../../client/tracker-api/index.ts'
import { encodeKey } from '../../common/keys.ts'
import { bodyOf, deadUrl, startPeer } from './peer.ts'

type Script = (request: IncomingMessage, reply: ServerResponse) => unknown

function api(t: Test, trackers: string[], options: Partial<TrackerApiOptions> = {}) {
  const created = createTrackerApi({ trackers, token: 'secret', budgetMs: 2_000, ...options })
  t.teardown(() => created.close())
  return created
}

function send(reply: ServerResponse, status: number, body: object, headers = {}): void {
  reply.writeHead(status, { 'content-type': 'application/json', ...headers })
  reply.end(JSON.stringify(body))
}

const refuse = (reply: ServerResponse, status: number, code: string): void =>
  send(reply, status, { statusCode: status, code, error: 'x', message: `it is ${code}` })

/** A tracker that answers each request with the next step, the last one again and again. */
async function scripted(t: Test, ...steps: Script[]) {
  const seen: string[] = []
  const { url } = await startPeer(t, async (request, reply) => {
    const step = steps[Math.min(seen.length, steps.length - 1)]
    const body = (await bodyOf(request)).toString()
    seen.push(`${request.method} ${request.url}${body && ` ${body}`}`)
    await step?.(request, reply)
  })
  return { url, seen }
}

const lost: Script = request => request.socket.destroy()
const file = { domain: 'd', key: 'k' }

void t.test('a request carries token, query and JSON, and the answer comes back', async t => {
  const { url, seen } = await scripted(t, (request, reply) => {
    t.equal(request.headers.authorization, 'Bearer secret')
    send(reply, 200, { fid: 7, files: [], prefixes: [] })
  })
  const tracker = api(t, [`${url}/behind/`])
  await tracker.list('a b', { prefix: 'c/&', after: Buffer.from([0xff]), delimiter: '/', limit: 5 })
  await tracker.stat({ domain: 'd', key: '../..' })
  await tracker.change({ domain: 'd', key: 'ü' }, { contentType: null })
  await tracker.putSetting('x/y', '1')
  t.same(seen, [
    'GET /behind/v1/domains/a%20b/files?prefix=c%2F%26&after=%FF&delimiter=%2F&limit=5',
    'GET /behind/v1/domains/d/files/?key=..%2F..',
    `PATCH /behind/v1/domains/d/files/?key=${encodeKey('ü')} {"contentType":null}`,
    'PUT /behind/v1/settings/x%2Fy {"value":"1"}',
  ])
})

void t.test('a refusal is thrown by its code and not asked again', async t => {
  const { url, seen } = await scripted(t, (_request, reply) => refuse(reply, 404, 'unknown_key'))
  await t.rejects(api(t, [url]).stat(file), { code: 'unknown_key', message: 'it is unknown_key' })
  t.equal(seen.length, 1)
  const broken = await scripted(t, (_request, reply) => refuse(reply, 500, 'of_a_newer_version'))
  await t.rejects(api(t, [broken.url]).stat(file), { code: 'failure' })
  t.equal(broken.seen.length, 1)
})

void t.test('trackers take turns, and one that fails is left out for a while', async t => {
  const ok: Script = (_request, reply) => send(reply, 200, {})
  const one = await scripted(t, ok)
  const two = await scripted(t, ok)
  const tracker = api(t, [one.url, two.url])
  for (let i = 0; i < 10; i++) await tracker.status()
  t.equal(one.seen.length, 5)
  t.equal(two.seen.length, 5)

  const failing = await scripted(t, lost)
  const careful = api(t, [failing.url, one.url, await deadUrl()])
  for (let i = 0; i < 12; i++) await careful.status()
  t.equal(failing.seen.length, 1)
})

void t.test('an outage that passes is waited for', async t => {
  for (const code of ['database_unavailable', 'shutting_down', 'overloaded', 'db']) {
    const down: Script = (_request, reply) => refuse(reply, 503, code)
    const { url, seen } = await scripted(t, down, down, (_request, reply) => send(reply, 200, {}))
    await api(t, [url]).status()
    t.equal(seen.length, 3, code)
  }
  const { url, seen } = await scripted(
    t,
    (_request, reply) => reply.writeHead(502).end('<html>balancer</html>'),
    (_request, reply) => send(reply, 200, {}),
  )
  await api(t, [url]).status()
  t.equal(seen.length, 2)
})

void t.test('Retry-After is obeyed, up to a limit', async t => {
  const busy = { statusCode: 503, code: 'overloaded', error: 'x', message: 'busy' }
  const { url } = await scripted(
    t,
    (_request, reply) => send(reply, 503, busy, { 'retry-after': '1' }),
    (_request, reply) => send(reply, 200, {}),
  )
  const begin = performance.now()
  await api(t, [url]).status()
  t.ok(performance.now() - begin >= 700)
})

void t.test('the error tells whether any tracker answered', async t => {
  const dead = await deadUrl()
  const options = { budgetMs: 300 }
  await t.rejects(api(t, [dead], options).status(), {
    code: 'tracker_unreachable',
    cause: { code: 'ECONNREFUSED' },
  })
  const down = await scripted(t, (_request, reply) => refuse(reply, 503, 'database_unavailable'))
  await t.rejects(api(t, [dead, down.url], options).status(), { code: 'database_unavailable' })
  const html = await scripted(t, (_request, reply) => reply.end('<html>'))
  await t.rejects(api(t, [html.url], options).status(), { code: 'tracker_unreachable' })
  const begin = performance.now()
  await t.rejects(api(t, [dead], options).refresh(), { code: 'tracker_unreachable' })
  t.ok(performance.now() - begin < 5_000, 'what takes a tracker long is not waited for without one')
  t.throws(() => createTrackerApi({ trackers: [] }), { code: 'bad_args' })
  t.throws(() => createTrackerApi({ trackers: ['localhost:7002'] }), { code: 'bad_args' })
})

void t.test('a process that is too busy to wake in time says why it had no answer', async t => {
  const busy = setInterval(() => {
    const end = performance.now() + 60
    while (performance.now() < end);
  }, 1)
  t.teardown(() => clearInterval(busy))
  const dead = await deadUrl()
  const trackers = Array.from({ length: 30 }, (_, i) => api(t, [dead], { budgetMs: 60 + 10 * i }))
  const told = await Promise.allSettled(trackers.map(tracker => tracker.stat(file)))
  for (const one of told) {
    t.match(one, { reason: { code: 'tracker_unreachable', message: /ECONNREFUSED/ } })
  }
})

void t.test('a tracker that hangs costs its time-out, and an abort ends the wait', async t => {
  const hanging = await scripted(t, () => {})
  const good = await scripted(t, (_request, reply) => send(reply, 200, { version: '1' }))
  const tracker = api(t, [hanging.url, good.url], { answerMs: 100, budgetMs: 5_000 })
  for (let i = 0; i < 2; i++) t.same(await tracker.status(), { version: '1' })

  const abort = new AbortController()
  const reason = new Error('changed my mind')
  const waiting = api(t, [hanging.url]).status({ signal: abort.signal })
  setImmediate(() => abort.abort(reason))
  await t.rejects(waiting, reason)
  const retrying = new AbortController()
  const dead = api(t, [await deadUrl()]).status({ signal: retrying.signal })
  setTimeout(() => retrying.abort(reason), 100)
  await t.rejects(dead, reason)
})

void t.test('what cannot be repeated is not, once it may have been done', async t => {
  const { url, seen } = await scripted(t, lost, (_request, reply) => send(reply, 201, {}))
  await t.rejects(api(t, [url]).createDomain('d'), { code: 'tracker_unreachable' })
  t.equal(seen.length, 1)
  const busy = await scripted(
    t,
    (_request, reply) => refuse(reply, 503, 'shutting_down'),
    (_request, reply) => send(reply, 201, { name: 'd', classes: [] }),
  )
  t.match(await api(t, [busy.url]).createDomain('d'), { name: 'd' })
  t.match(await api(t, [await deadUrl(), busy.url]).createDomain('d'), { name: 'd' })
})

void t.test('opening and committing an upload are repeated', async t => {
  const { url, seen } = await scripted(t, lost, (_request, reply) => send(reply, 200, { fid: 1 }))
  t.match(await api(t, [url]).openUpload(file, {}), { fid: 1 })
  t.same(seen, Array(2).fill('POST /v1/domains/d/uploads {"key":"k"}'))
  const again = await scripted(t, lost, (_request, reply) => send(reply, 200, { fid: 1 }))
  const commit = { copies: [{ devid: 1 }] }
  t.match(await api(t, [again.url]).commitUpload({ domain: 'd', upload: 'u' }, commit), { fid: 1 })
  t.equal(again.seen.length, 2)
})

void t.test('a delete whose answer was lost is done when the file is gone', async t => {
  const gone: Script = (_request, reply) => refuse(reply, 404, 'unknown_key')
  const { url } = await scripted(t, lost, gone)
  await t.resolves(api(t, [url]).remove(file))
  const never = await scripted(t, gone)
  await t.rejects(api(t, [never.url]).remove(file), { code: 'unknown_key' })
  const busy = await scripted(t, (_request, reply) => refuse(reply, 503, 'overloaded'), gone)
  await t.rejects(api(t, [busy.url]).remove(file), { code: 'unknown_key' }, 'it was never begun')
  const host = await scripted(t, lost, (_request, reply) => refuse(reply, 404, 'host_not_found'))
  await t.resolves(api(t, [host.url]).deleteHost('h'))
  const upload = await scripted(t, (_request, reply) => refuse(reply, 404, 'no_upload'))
  await t.resolves(api(t, [upload.url]).abandonUpload({ domain: 'd', upload: 'u' }))
})

void t.test('a rename whose answer was lost is judged by what lies at the new key', async t => {
  const there: Script = (_request, reply) => send(reply, 200, { fid: 7, key: 'to' })
  const other: Script = (_request, reply) => send(reply, 200, { fid: 8, key: 'to' })
  const gone: Script = (_request, reply) => refuse(reply, 404, 'unknown_key')
  const taken: Script = (_request, reply) => refuse(reply, 409, 'key_exists')

  const done = await scripted(t, there, lost, gone, there)
  t.match(await api(t, [done.url]).rename(file, 'to'), { fid: 7, key: 'to' })
  t.equal(done.seen[1], 'POST /v1/domains/d/rename {"from":"k","to":"to"}')
  const doneBefore = await scripted(t, there, lost, taken, there)
  t.match(await api(t, [doneBefore.url]).rename(file, 'to'), { fid: 7 })

  const notOurs = await scripted(t, there, lost, taken, other)
  await t.rejects(api(t, [notOurs.url]).rename(file, 'to'), { code: 'key_exists' })
  const deleted = await scripted(t, there, lost, gone, gone)
  await t.rejects(api(t, [deleted.url]).rename(file, 'to'), { code: 'unknown_key' })
  const refused = await scripted(t, there, taken)
  await t.rejects(api(t, [refused.url]).rename(file, 'to'), { code: 'key_exists' })
  t.equal(refused.seen.length, 2)
})

void t.test('keys that are no keys are refused before anything is sent', async t => {
  const tracker = api(t, [await deadUrl()])
  await t.rejects(tracker.stat({ domain: 'd', key: '' }), { code: 'no_key' })
  await t.rejects(tracker.locate({ domain: 'd', key: 'ü'.repeat(513) }), { code: 'key_too_long' })
  await t.rejects(tracker.rename(file, ''), { code: 'no_key' })
  await t.rejects(tracker.remove({ domain: 'd', key: new Uint8Array() }), { code: 'no_key' })
})
