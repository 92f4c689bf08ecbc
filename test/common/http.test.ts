import Type from 'typebox'
import t from 'tap'
import { CodedError } from '../../common/errors.ts'
import { createServer } from '../../common/http.ts'
import { createLogger } from '../../common/log.ts'

const log = createLogger('test', { level: 'silent' })

t.test('a verb that a resource has not is answered 405 with those it has', async t => {
  const { app } = createServer({ log, name: 'test' })
  t.teardown(() => app.close())
  app.get('/things/:id', { schema: { params: Type.Object({ id: Type.String() }) } }, () => ({}))
  app.delete('/things/:id', () => ({}))
  app.post('/things/:id/parts', () => ({}))
  const origin = await app.listen({ port: 0, host: '127.0.0.1' })
  const ask = async (method: string, path: string) => {
    const response = await fetch(origin + path, { method })
    const { code } = (await response.json()) as { code?: string }
    return [response.status, response.headers.get('allow'), code]
  }
  t.same(await ask('POST', '/things/7?x=1'), [405, 'DELETE, GET, HEAD', 'method_not_allowed'])
  t.same(await ask('GET', '/things/7/parts'), [405, 'POST', 'method_not_allowed'])
  t.same(await ask('GET', '/thingsX7'), [404, null, 'not_found'])
  t.same(await ask('GET', '/'), [404, null, 'not_found'])
  t.same(await ask('GET', '/health'), [200, null, undefined])
})

t.test('metrics are shown to those who are let in', async t => {
  const { app } = createServer({
    log,
    name: 'test',
    metricsAccess: async request => {
      if (request.headers.authorization !== 'Bearer right') {
        throw new CodedError('unauthorized', 'a token is needed')
      }
    },
  })
  t.teardown(() => app.close())
  const url = `${await app.listen({ port: 0, host: '127.0.0.1' })}/metrics`
  t.equal((await fetch(url)).status, 401)
  const shown = await fetch(url, { headers: { authorization: 'Bearer right' } })
  t.match(await shown.text(), /test_requests_total/)
})
