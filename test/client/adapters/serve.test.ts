import { get as httpGet } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import fastify from 'fastify'
import t, { type Test } from 'tap'
import { serveFiles as expressFiles } from '../../../client/adapters/express.ts'
import { serveFiles as fastifyFiles } from '../../../client/adapters/fastify.ts'
import type { Client } from '../../../client/index.ts'
import { startStandIn } from '../stand-in.ts'

/** Starts an application that serves `files` below `/f/`; its origin. */
type Start = (t: Test, files: Client) => Promise<string>

const headers = { 'cache-control': 'max-age=60' }

const startExpress: Start = async (t, files) => {
  const app = express()
  const key = ({ params }: express.Request): string => [params['path']].flat().join('/')
  app.all('/f/*path', expressFiles(files, { headers, key }))
  const server = app.listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await new Promise(resolve => server.once('listening', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const startFastify: Start = async (t, files) => {
  const app = fastify()
  app.get<{ Params: { '*': string } }>(
    '/f/*',
    fastifyFiles(files, { headers, key: ({ params }) => params['*'] }),
  )
  t.teardown(() => app.close())
  return await app.listen({ host: '127.0.0.1', port: 0 })
}

for (const [name, start] of Object.entries({ express: startExpress, fastify: startFastify })) {
  void t.test(`${name} serves files, through the reproxy and without it`, async t => {
    const { client, places } = await startStandIn(t)
    const origin = await start(t, client)
    const { etag } = await client.put('a/b', 'hello', { contentType: 'text/plain' })
    const ask = (fields: Record<string, string> = {}, method = 'GET'): Promise<Response> =>
      fetch(`${origin}/f/a/b`, { headers: fields, method })

    const named = await ask({ 'x-proxy-capabilities': 'reproxy-url' })
    t.equal(named.status, 200)
    t.match(named.headers.get('x-reproxy-url'), places[0]!.origin)
    t.equal(named.headers.get('x-reproxy-expected-size'), '5')
    t.equal(named.headers.get('cache-control'), 'max-age=60')
    t.equal(await named.text(), '', 'no byte of the file')

    const whole = await ask()
    t.match(Object.fromEntries(whole.headers), {
      'content-type': /^text\/plain/,
      'content-length': '5',
      'cache-control': 'max-age=60',
      etag,
    })
    t.equal(whole.headers.get('x-reproxy-url'), null)
    t.equal(await whole.text(), 'hello')

    const head = await ask({}, 'HEAD')
    t.same([head.status, head.headers.get('content-length')], [200, '5'])
    const ranges: [string, number, string, string | null][] = [
      ['bytes=1-2', 206, 'el', 'bytes 1-2/5'],
      ['bytes=3-', 206, 'lo', 'bytes 3-4/5'],
      ['bytes=-2', 206, 'lo', 'bytes 3-4/5'],
      ['bytes=0-99', 206, 'hello', 'bytes 0-4/5'],
      ['bytes=5-', 416, '', 'bytes */5'],
      ['bytes=-0', 416, '', 'bytes */5'],
      ['bytes=2-1', 200, 'hello', null],
      ['bytes=0-0,2-2', 200, 'hello', null],
      ['lines=1-2', 200, 'hello', null],
    ]
    for (const [range, status, text, field] of ranges) {
      const answer = await ask({ range })
      t.same(
        [answer.status, await answer.text(), answer.headers.get('content-range')],
        [status, text, field],
        range,
      )
    }
    t.equal((await ask({ range: 'bytes=1-2', 'if-range': etag })).status, 206)
    t.equal((await ask({ range: 'bytes=1-2', 'if-range': '"x"' })).status, 200)
    const same = await ask({ 'if-none-match': etag })
    t.same([same.status, await same.text(), same.headers.get('etag')], [304, '', etag])
    t.equal((await ask({ 'if-match': '"x"' })).status, 412)
    t.equal((await fetch(`${origin}/f/absent`)).status, 404)
    t.equal((await ask({}, 'POST')).status, 404, 'a POST is not for it')

    await client.put('large', Buffer.alloc(8 * 1024 * 1024))
    await new Promise<void>(resolve => {
      httpGet(`${origin}/f/large`, answer => {
        answer.once('data', () => {
          answer.destroy()
          resolve()
        })
      })
    })
    t.equal((await ask()).status, 200, 'a client that leaves does no harm')
  })
}
