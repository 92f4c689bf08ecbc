import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { client, fetchRaw, httpPeer, startProxy } from './peers.ts'

const main = fileURLToPath(new URL('../../reproxy/main.js', import.meta.url))

async function run(args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = fork(main, args, { silent: true, env: {} })
  t.teardown(() => child.kill('SIGKILL'))
  let out = ''
  let err = ''
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, out, err }
}

t.test('--help describes every setting', async t => {
  const { code, out } = await run(['--help'])
  t.equal(code, 0)
  for (const flag of ['--listen', '--allow-targets', '--tracker-token-file', '--max-attempts']) {
    t.match(out, flag)
  }
  t.match(out, 'OMG_REPROXY_LISTEN')
})

t.test('a setting that cannot be used is one line on stderr and status 2', async t => {
  const good = ['--app', '127.0.0.1:1', '--listen', '127.0.0.1:0']
  for (const [args, setting] of [
    [[], '--app'],
    [['--app', 'x:y'], '--app'],
    [[...good, '--listen', '1:2:3'], '--listen'],
    [[...good, '--allow-targets', 'nonsense'], '--allow-targets'],
    [[...good, '--trusted-proxies', '10.0.0.0/64'], '--trusted-proxies'],
    [[...good, '--tracker', 'tracker:7002'], '--tracker'],
    [[...good, '--max-attempts', '0'], '--max-attempts'],
    [[...good, '--via-name', 'a b'], '--via-name'],
    [[...good, '--nonsense'], '--nonsense'],
  ] as [string[], string][]) {
    const { code, err } = await run(args)
    t.equal(code, 2, args.join(' '))
    t.match(err, setting)
    t.equal(err.trim().split('\n').length, 1, err)
  }
})

t.test('SIGTERM ends the process with status 0', async t => {
  const child = fork(main, ['--app', '127.0.0.1:1', '--listen', '127.0.0.1:0'], {
    silent: true,
    env: {},
  })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'message')
  child.kill('SIGTERM')
  t.strictSame(await once(child, 'exit'), [0, null])
})

t.test('nothing but the application answers on the public listener', async t => {
  const app = await httpPeer(t, (req, res) => res.end(`app ${req.url}`))
  const proxy = await startProxy(t, app.port)
  for (const target of ['/health', '/healthz', '/readyz', '/metrics']) {
    t.equal((await fetchRaw(t, proxy.port, { target })).body.toString(), `app ${target}`)
  }
})

t.test('it can be closed twice, before its start, and its port be taken', async t => {
  const app = await httpPeer(t, (_req, res) => res.end())
  const first = await startProxy(t, app.port)
  await t.rejects(startProxy(t, app.port, { listen: `127.0.0.1:${first.port}` }), {
    code: 'EADDRINUSE',
  })
  await first.reproxy.close()
  await first.reproxy.close()
  await client(t, first.port).end()
})
