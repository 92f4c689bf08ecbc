import t from 'tap'
import { request } from 'undici'
import { client, fetchRaw, fileNode, fileProxy, httpPeer, startProxy, until } from '../peers.ts'

t.test('operators have a listener of their own', async t => {
  const node = await fileNode(t, 'file bytes')
  const proxy = await fileProxy(t, `http://10.0.0.1/ ${node.url()}`, {
    ports: [node.port],
    adminListen: '127.0.0.1:0',
    drainTimeoutMs: 5000,
  })
  const ask = async (path: string): Promise<string> => {
    const { statusCode, body } = await request(
      `http://${proxy.reproxy.listening()['admin']}${path}`,
    )
    return `${statusCode} ${await body.text()}`
  }
  const before = await ask('/metrics')
  for (const name of [
    'requests_total',
    'inflight 0',
    'storage_attempts_total',
    'failovers_total{phase="body"} 0',
    'hedges_total{result="won"} 0',
    'breaker_state',
    'cache_events_total{cache="map",event="hit"} 0',
    'shed_total{reason="inflight"} 0',
    'denied_targets_total 0',
    'bytes_out_total 0',
    'ttfb_seconds_bucket',
  ]) {
    t.match(before, `reproxy_${name}`)
  }
  t.equal((await fetchRaw(t, proxy.port)).status, 200)
  const after = await ask('/metrics')
  t.match(after, 'reproxy_requests_total{code="200"} 1')
  t.match(after, `reproxy_storage_attempts_total{node="127.0.0.1:${node.port}",outcome="ok"} 1`)
  t.match(after, 'reproxy_denied_targets_total 1')
  t.match(after, 'reproxy_bytes_out_total 10')
  t.match(after, `reproxy_breaker_state{node="127.0.0.1:${node.port}"} 0`)
  t.match(await ask('/healthz'), /^200/)
  t.match(await ask('/readyz'), /^200/)
  t.match(await ask('/'), `127.0.0.1:${node.port}`)
  t.match(await ask('/nothing'), /^404/)
})

t.test('while it drains it is not ready, and still answers operators', async t => {
  let answer = (): void => {}
  const app = await httpPeer(t, (_req, res) => {
    answer = () => res.end('done')
  })
  const proxy = await startProxy(t, app.port, { adminListen: '127.0.0.1:0', drainTimeoutMs: 5000 })
  const admin = `http://${proxy.reproxy.listening()['admin']}`
  const raw = client(t, proxy.port).send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => app.sockets.size === 1)
  const closed = proxy.reproxy.close()
  t.equal((await request(`${admin}/readyz`)).statusCode, 503)
  answer()
  const got = await raw.response()
  t.equal(got.field('connection'), 'close')
  await closed
})
