import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { secret, signed, startNode, type Answer } from './node.ts'

const replica = { devid: 1, fid: 7 }
const origin = 'https://app.example'
const preflight = {
  origin,
  'access-control-request-method': 'PUT',
  'access-control-request-headers': 'content-type',
}
const allowed = ({ headers }: Answer): unknown => headers['access-control-allow-origin']

void t.test('a page of any origin uploads and reads with a signed URL', async t => {
  const node = await startNode(t, { secret })
  const put = signed('PUT', replica)
  const asked = await node.send('OPTIONS', put, { headers: preflight })
  t.equal(asked.status, 204)
  t.match(asked.headers, {
    'access-control-allow-origin': '*',
    'access-control-allow-methods': /\bPUT\b/,
    'access-control-allow-headers': /\bcontent-type\b/,
    'access-control-max-age': /^\d+$/,
  })
  t.notOk(asked.headers['access-control-allow-credentials'], 'the URL is all it takes')

  const stored = await node.send('PUT', put, { body: 'from a page', headers: { origin } })
  t.match(stored, { status: 201, headers: { 'omg-receipt': /./, 'repr-digest': /^sha-256=/ } })
  t.equal(allowed(stored), '*')
  for (const field of ['omg-receipt', 'omg-offset', 'repr-digest', 'content-range']) {
    t.match(stored.headers['access-control-expose-headers'], field)
  }
  const read = await node.send('GET', signed('GET', replica), { headers: { origin } })
  t.equal(read.body.toString(), 'from a page')
  t.equal(allowed(read), '*')
})

void t.test('a page is told why it was refused', async t => {
  const node = await startNode(t, { secret })
  const headers = { origin }
  const wrong = await node.send('PUT', signed('GET', replica), { body: 'x', headers })
  t.match(wrong, { status: 403, code: 'bad_token' })
  t.equal(allowed(wrong), '*')
  const missing = await node.send('GET', signed('GET', replica), { headers })
  t.match(missing, { status: 404, code: 'not_found' })
  t.equal(allowed(missing), '*')
})

void t.test('without a signature no page is let in, unless that is meant', async t => {
  const path = replicaPath(replica)
  const cases = [
    { settings: { secret }, target: path },
    { settings: { secret, open: true }, target: path },
    { settings: {}, target: path },
    { settings: {}, target: `${path}?made.up` },
    { settings: { secret, cors: 'off' as const }, target: signed('PUT', replica) },
  ]
  for (const [i, { settings, target }] of cases.entries()) {
    const node = await startNode(t, { ...settings, root: t.testdir({ [i]: {} }) + `/${i}` })
    const asked = await node.send('OPTIONS', target, { headers: preflight })
    t.equal(allowed(asked), undefined, `case ${i}`)
    t.notOk(asked.headers['access-control-allow-methods'])
    t.equal(allowed(await node.send('PUT', target, { body: 'x', headers: { origin } })), undefined)
    await node.close()
  }
  const node = await startNode(t, { cors: 'all' })
  t.equal(allowed(await node.send('OPTIONS', path, { headers: preflight })), '*')
  t.equal(allowed(await node.send('PUT', path, { body: 'x', headers: { origin } })), '*')
  t.equal(allowed(await node.send('GET', path)), undefined, 'who is no page is not told')
})
