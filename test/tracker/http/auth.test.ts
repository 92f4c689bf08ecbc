import t from 'tap'
import type { CreatedToken, TokenScope } from '../../../common/protocol/configuration.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { createCall, putFile } from './calls.ts'

t.test('a token allows what its scope says', async t => {
  const cluster = await startCluster(t, { hosts: 1 })
  const call = createCall(cluster.http, cluster.token)
  await cluster.api.createDomain('other')
  await putFile(call, { key: 'file' })
  const tokenOf = async (scope: TokenScope, domain?: string): Promise<string> => {
    const fields = { name: `${scope} ${domain}`, scope, ...(domain ? { domain } : {}) }
    return (await call('POST', '/v1/tokens', { json: fields })).json<CreatedToken>().token
  }
  const tokens = {
    admin: await tokenOf('admin'),
    write: await tokenOf('write', 'test'),
    read: await tokenOf('read', 'test'),
    foreign: await tokenOf('write', 'other'),
  }

  const upload = { key: 'new' }
  const rows: [route: string, allowed: string, json?: unknown][] = [
    ['GET /v1/domains/test/files/file', 'admin write read'],
    ['GET /v1/domains/test/files', 'admin write read'],
    ['GET /v1/domains/test/locations/file', 'admin write read'],
    ['GET /v1/domains/test/files/missing', 'admin write read'],
    ['GET /v1/domains/nowhere/files/file', 'admin'],
    ['POST /v1/domains/test/uploads', 'admin write', upload],
    ['POST /v1/domains/nowhere/uploads', 'admin', upload],
    ['POST /v1/domains/test/rename', 'admin write', { from: 'missing', to: 'x' }],
    ['PATCH /v1/domains/test/files/missing', 'admin write', { class: 'default' }],
    ['DELETE /v1/domains/test/files/missing', 'admin write'],
    ['DELETE /v1/domains/test/uploads/9.9', 'admin write'],
    ['POST /v1/domains/test/uploads/9.9/commit', 'admin write', { copies: [{ devid: 1 }] }],
    ['GET /v1/targets', 'admin write read foreign'],
    ['GET /v1/status', 'admin'],
    ['GET /v1/domains', 'admin'],
    ['POST /v1/domains/test/classes', 'admin', { name: 'default' }],
    ['GET /v1/hosts', 'admin'],
    ['GET /v1/hosts/node1/key', 'admin'],
    ['PATCH /v1/devices/1', 'admin', { weight: 100 }],
    ['GET /v1/settings', 'admin'],
    ['GET /v1/tokens', 'admin'],
    ['POST /v1/tokens', 'admin', { name: 'x', scope: 'read' }],
  ]
  for (const [route, allowed, json] of rows) {
    t.test(`${route} is for ${allowed}`, async t => {
      const [method = '', path = ''] = route.split(' ')
      for (const [name, token] of Object.entries(tokens)) {
        const answer = await call(method, path, { token, ...(json ? { json } : {}) })
        if (allowed.split(' ').includes(name)) {
          t.notOk([401, 403].includes(answer.status), `${name}: ${answer.status}`)
        } else {
          t.strictSame([answer.status, answer.code], [403, 'forbidden'], name)
        }
      }
    })
  }

  t.test('a forbidden answer is the same whether the thing exists', async t => {
    const paths = ['test/files/file', 'test/files/missing', 'nowhere/files/file']
    const texts = paths.map(async path => {
      const answer = await call('GET', `/v1/domains/${path}`, { token: tokens.foreign })
      return answer.text
    })
    t.equal(new Set(await Promise.all(texts)).size, 1)
  })

  t.test('without a good token there is nothing', async t => {
    const path = '/v1/domains/test/files/file'
    const credentials: [what: string, headers: Record<string, string>, path?: string][] = [
      ['none', {}],
      ['an unknown one', { authorization: `Bearer ${'x'.repeat(43)}` }],
      ['another scheme', { authorization: `Basic ${tokens.admin}` }],
      ['nothing behind the scheme', { authorization: 'Bearer ' }],
      ['two', { authorization: `Bearer ${tokens.admin} ${tokens.admin}` }],
      ['a very long one', { authorization: `Bearer ${'x'.repeat(10_000)}` }],
      ['one in the query', {}, `${path}?token=${tokens.admin}&access_token=${tokens.admin}`],
    ]
    for (const [what, headers, at = path] of credentials) {
      const answer = await call('GET', at, { token: null, headers })
      t.strictSame([answer.status, answer.code], [401, 'unauthorized'], what)
      t.equal(answer.headers['www-authenticate'], 'Bearer', what)
    }
    const scheme = { authorization: `bearer ${tokens.admin}` }
    t.equal((await call('GET', path, { token: null, headers: scheme })).status, 200)
  })

  t.test('a token with a rate asks no more often than that, and others do not notice', async t => {
    const path = '/v1/domains/test/files'
    const made = await call('POST', '/v1/tokens', {
      json: { name: 'slow', scope: 'read', domain: 'test', rate: 5 },
    })
    const { token, rate } = made.json<CreatedToken>()
    t.equal(rate, 5)
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => call('GET', path, { token })),
    )
    const taken = answers.filter(({ status }) => status === 200).length
    t.ok(taken >= 5 && taken < 200, `${taken} were taken`)
    for (const { status, code, headers } of answers.filter(answer => answer.status !== 200)) {
      t.strictSame([status, code, headers['retry-after']], [429, 'too_many_requests', '1'])
    }
    t.equal((await call('GET', path, { token: tokens.read })).status, 200)
    await until('it may ask again', async () => (await call('GET', path, { token })).status === 200)
    for (const wrong of [0, -1, 1.5, 1_000_001, '5', null]) {
      const json = { name: 'wrong', scope: 'admin', rate: wrong }
      t.equal((await call('POST', '/v1/tokens', { json })).code, 'bad_request', String(wrong))
    }
  })

  t.test('a revoked token ends at once, and one goes with its domain', async t => {
    const made = await call('POST', '/v1/tokens', { json: { name: 'short', scope: 'admin' } })
    const { id, token } = made.json<CreatedToken>()
    t.equal((await call('GET', '/v1/status', { token })).status, 200)
    t.equal((await call('DELETE', `/v1/tokens/${id}`)).status, 204)
    t.equal((await call('GET', '/v1/status', { token })).code, 'unauthorized')

    await call('POST', '/v1/domains', { json: { name: 'passing' } })
    const lost = await tokenOf('read', 'passing')
    t.equal((await call('DELETE', '/v1/domains/passing')).status, 204)
    await call('POST', '/v1/domains', { json: { name: 'passing' } })
    t.equal((await call('GET', '/v1/domains/passing/files', { token: lost })).code, 'unauthorized')
  })
})
