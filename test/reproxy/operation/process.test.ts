/** The reproxy as a process: its settings, its signals, its workers. */
import { execFileSync, fork, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { configure } from '../../../common/daemon.ts'
import { program } from '../../../reproxy/main.ts'
import { directory } from '../../helpers/directory.ts'
import { client, fetchRaw, httpPeer, until } from '../peers.ts'

const main = fileURLToPath(new URL('../../../reproxy/main.js', import.meta.url))

interface Running {
  readonly child: ChildProcess
  readonly listening: Record<string, string>
  readonly port: number
  /** Writes the settings anew and has them read. */
  reload(config: object): Promise<void>
  output(): string
}

async function run(t: Test, config: object, { fd }: { fd?: number } = {}): Promise<Running> {
  const dir = await directory(t)
  const file = join(dir, 'reproxy.json')
  await writeFile(file, JSON.stringify({ listen: '127.0.0.1:0', ...config }))
  const child = fork(main, ['--config', file], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc', ...(fd === undefined ? [] : [fd])],
    env: {},
  })
  t.teardown(() => child.kill('SIGKILL'))
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const [{ listening }] = (await once(child, 'message')) as [{ listening: Record<string, string> }]
  return {
    child,
    listening,
    port: Number(listening['http']?.split(':')[1]),
    async reload(next) {
      await writeFile(file, JSON.stringify({ listen: '127.0.0.1:0', ...next }))
      const seen = output.length
      child.kill('SIGHUP')
      await until(() => /settings/.test(output.slice(seen)), 10_000)
    },
    output: () => output,
  }
}

/** Eight clients that ask again and again until told to stop, which returns what they got but 200. */
function startLoad(
  t: Test,
  port: number,
): { readonly served: () => number; readonly stop: () => Promise<unknown[]> } {
  let stopped = false
  let served = 0
  const failures: unknown[] = []
  const lane = async (): Promise<void> => {
    while (!stopped) {
      try {
        const { status } = await fetchRaw(t, port)
        if (status === 200) served++
        else failures.push(status)
      } catch (err) {
        failures.push(err)
      }
    }
  }
  const lanes = Array.from({ length: 8 }, lane)
  return {
    served: () => served,
    async stop() {
      stopped = true
      await Promise.all(lanes)
      return failures
    },
  }
}

t.test('what is wrong with the settings is said in one line that names it', async t => {
  const file = join(await directory(t), 'reproxy.json')
  const good = '{"apps":["127.0.0.1:1"]}'
  for (const [text, named, args = []] of [
    ['{', '--config'],
    ['[]', '--config'],
    ['{"nonsense":1}', 'nonsense: is no setting'],
    ['{"apps":["127.0.0.1:1"],"maxAttempts":"6"}', 'maxAttempts'],
    ['{"apps":["127.0.0.1:1"],"maxAttempts":0}', 'maxAttempts'],
    ['{"apps":["127.0.0.1:1"],"accessLogFormat":"x"}', 'Format: must be one of json, combined'],
    ['{"apps":["127.0.0.1:1"],"accessLog":"/nowhere/log"}', '--access-log'],
    ['{"apps":["127.0.0.1:1"],"fileRoots":["files"]}', '--file-roots'],
    ['{"apps":["127.0.0.1:1"],"tls":{"listen":"127.0.0.1:0"}}', 'tls.certFile: is required'],
    [
      '{"apps":["127.0.0.1:1"],"tls":{"listen":"127.0.0.1:0","certFile":"/x","keyFile":"/y"}}',
      'tls',
    ],
    ['{"apps":["127.0.0.1:1"],"direct":{"prefix":"files"}}', 'direct.prefix'],
    ['{"apps":["127.0.0.1:1"],"direct":{"prefix":"/f","trackers":[]}}', 'direct.trackers'],
    ['{"apps":["127.0.0.1:1"],"direct":{"prefix":"/f","x":1}}', 'direct.x: is no setting'],
    ['{"apps":["127.0.0.1:1"],"services":{"":["127.0.0.1:1"]}}', 'services'],
    ['{"apps":["127.0.0.1:1"],"virtualHosts":{"a":"b"}}', 'virtualHosts.a'],
    ['{"apps":["127.0.0.1:0"]}', '--apps'],
    ['{"apps":["nowhere"]}', '--apps'],
    ['{}', '--apps'],
    [good, '--max-inflight', ['--max-inflight', 'x']],
    [good, '--log-level', ['--log-level', 'x']],
  ] as [string, string, string[]?][]) {
    await writeFile(file, text)
    t.throws(
      () => configure(program, { args: ['--config', file, ...args], env: {} }),
      { name: 'ConfigError', message: new RegExp(`^.*${named}.*$`) },
      `${text} ${args.join(' ')}`,
    )
  }
})

t.test('flags win over the file, and null is absent', async t => {
  const app = await httpPeer(t, (_req, res) => res.end('app'))
  const running = await run(t, { apps: [`127.0.0.1:${app.port}`], viaName: null, direct: null })
  t.match((await fetchRaw(t, running.port)).field('via'), /^1\.1 omg-/)
})

t.test('SIGHUP goes over to new settings without dropping a connection', async t => {
  const one = await httpPeer(t, (_req, res) => setTimeout(() => res.end('one'), 200))
  const two = await httpPeer(t, (_req, res) => res.end('two'))
  const running = await run(t, { apps: [`127.0.0.1:${one.port}`], drainTimeoutMs: 1000 })
  const raw = client(t, running.port)
  raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => one.sockets.size === 1)
  await running.reload({ apps: [`127.0.0.1:${two.port}`] })
  t.equal((await raw.response()).body.toString(), 'one', 'what was begun is finished')
  raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.equal((await raw.response()).body.toString(), 'two', 'on the same connection')
  await running.reload({ apps: ['nonsense'] })
  raw.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.equal((await raw.response()).body.toString(), 'two', 'bad settings change nothing')
  running.child.kill('SIGTERM')
  t.strictSame(await once(running.child, 'exit'), [0, null])
})

t.test(
  'the level of the log and the time to drain may be told, and changed, by the file',
  async t => {
    let asked = false
    const app = await httpPeer(t, (_req, res) => {
      asked = true
      setTimeout(() => res.end('late'), 2_400)
    })
    const apps = [`127.0.0.1:${app.port}`]
    const running = await run(t, { apps, logLevel: 'warn', drainTimeoutMs: 100 })
    t.equal(running.output(), '')
    await running.reload({ apps, drainTimeoutMs: 10_000 })
    const raw = client(t, running.port).send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => asked)
    running.child.kill('SIGTERM')
    const ended = once(running.child, 'exit')
    t.equal((await raw.response()).body.toString(), 'late')
    t.strictSame(await ended, [0, null])
  },
)

function certificate(dir: string, name: string): void {
  const args = `req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=${name}`.split(' ')
  const files = ['-keyout', join(dir, `${name}.key`), '-out', join(dir, `${name}.crt`)]
  execFileSync('openssl', [...args, ...files], { stdio: 'ignore' })
}

t.test('TLS: 1.2 and up, HTTP/1.1, and another certificate without a restart', async t => {
  const dir = await directory(t)
  certificate(dir, 'first')
  certificate(dir, 'second')
  const certFile = join(dir, 'first.crt')
  const keyFile = join(dir, 'first.key')
  const app = await httpPeer(t, (req, res) => res.end(String(req.headers['x-forwarded-proto'])))
  const config = {
    apps: [`127.0.0.1:${app.port}`],
    tls: { listen: '127.0.0.1:0', certFile, keyFile },
  }
  const running = await run(t, config)
  const port = Number(running.listening['https']?.split(':')[1])
  const dial = async (options = {}) => {
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options })
    t.teardown(() => socket.destroy())
    await once(socket, 'secureConnect')
    return socket
  }
  const first = await dial({ ALPNProtocols: ['h2', 'http/1.1'] })
  t.equal(first.alpnProtocol, 'http/1.1')
  t.equal(first.getPeerCertificate().subject.CN, 'first')
  first.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  const [answer] = (await once(first, 'data')) as [Buffer]
  t.match(answer.toString(), /\r\n\r\nhttps$/)
  await t.rejects(dial({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1.1' }))

  await rename(join(dir, 'second.key'), keyFile)
  await rename(join(dir, 'second.crt'), certFile)
  await running.reload(config)
  const second = await dial()
  t.equal(second.getPeerCertificate().subject.CN, 'second')
  first.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(first, 'data')

  const plain = client(t, port).send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await plain.end()
})

t.test('several workers share the listener, and one that dies is replaced', async t => {
  const app = await httpPeer(t, (req, res) => {
    if (req.url === '/file') res.setHeader('X-Reproxy-URL', 'http://127.0.0.1:1/x')
    res.end('app')
  })
  const running = await run(t, {
    apps: [`127.0.0.1:${app.port}`],
    allowTargets: '127.0.0.1:1',
    breakerFailures: 1,
    adminListen: '127.0.0.1:0',
    workers: 2,
  })
  const admin = `http://${running.listening['admin']}`
  for (let i = 0; i < 6; i++) t.equal((await fetchRaw(t, running.port)).status, 200)
  const { body } = await request(`${admin}/metrics`)
  t.match(await body.text(), 'reproxy_requests_total{code="200"} 6')
  for (let i = 0; i < 6; i++) await fetchRaw(t, running.port, { target: '/file' })
  const { body: later } = await request(`${admin}/metrics`)
  t.match(await later.text(), 'reproxy_breaker_state{node="127.0.0.1:1"} 2\n')
  const pids = async (): Promise<number[]> => {
    const status = (await (await request(`${admin}/status.json`)).body.json()) as {
      title: string
      rows: number[][]
    }[]
    return status.filter(({ title }) => title === 'Requests').map(({ rows }) => rows[0]?.[1] ?? 0)
  }
  const before = await pids()
  t.equal(before.length, 2)
  process.kill(before[0] ?? 0, 'SIGKILL')
  let now: number[] = []
  const deadline = performance.now() + 20_000
  while ((now.length < 2 || now.includes(before[0] ?? 0)) && performance.now() < deadline) {
    await sleep(50)
    now = await pids().catch(() => [])
  }
  t.equal(now.length, 2)
  t.equal((await fetchRaw(t, running.port)).status, 200)
  running.child.kill('SIGTERM')
  t.strictSame(await once(running.child, 'exit'), [0, null])
})

t.test('a restart behind an inherited socket fails no request', async t => {
  const app = await httpPeer(t, (_req, res) => setTimeout(() => res.end('app'), 5))
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as { port: number }
  const { fd } = (listener as unknown as { _handle: { fd: number } })._handle
  const config = { apps: [`127.0.0.1:${app.port}`], listen: 'fd:4', accessLog: '/dev/null' }
  const old = await run(t, config, { fd })
  const next = await run(t, config, { fd })
  listener.close() // the two have it now, and this process must not accept anything
  const load = startLoad(t, port)
  await until(() => load.served() > 50)
  old.child.kill('SIGTERM')
  t.strictSame(await once(old.child, 'exit'), [0, null])
  const soFar = load.served()
  await until(() => load.served() > soFar + 50)
  t.strictSame(await load.stop(), [])
  next.child.kill('SIGTERM')
  await once(next.child, 'exit')
})

t.test('a restart by a service manager that holds the socket fails no request', async t => {
  const app = await httpPeer(t, (_req, res) => setTimeout(() => res.end('app'), 5))
  const dir = await directory(t)
  const file = join(dir, 'reproxy.json')
  const config = { apps: [`127.0.0.1:${app.port}`], listen: 'fd:3', accessLog: join(dir, 'log') }
  await writeFile(file, JSON.stringify(config))
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as { port: number }
  const { fd } = (listener as unknown as { _handle: { fd: number } })._handle
  // The manager: it stops the old process, waits for its end, and only then starts the new one.
  const script = `
    "$0" "$1" --config "$2" & first=$!
    read -r line; kill -TERM $first; wait $first; echo "ended $?"
    "$0" "$1" --config "$2" & second=$!
    read -r line; kill -TERM $second; wait $second; echo "ended $?"`
  const manager = spawn('sh', ['-c', script, process.execPath, main, file], {
    stdio: ['pipe', 'pipe', 'inherit', fd],
    env: {},
  })
  listener.close()
  let said = ''
  manager.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()))
  t.teardown(() => {
    manager.stdin?.end('\n\n')
  })
  const load = startLoad(t, port)
  await until(() => load.served() > 50, 20_000)
  manager.stdin?.write('\n')
  await until(() => said.includes('ended 0'), 20_000)
  const soFar = load.served()
  await until(() => load.served() > soFar + 50, 20_000)
  t.strictSame(await load.stop(), [])
  manager.stdin?.end('\n')
  t.strictSame(await once(manager, 'exit'), [0, null])
})

t.test('the access log goes to a file, as JSON or combined, and is opened anew', async t => {
  const dir = await directory(t)
  const path = join(dir, 'access.log')
  const app = await httpPeer(t, (_req, res) => res.end('body'))
  const apps = [`127.0.0.1:${app.port}`]
  const running = await run(t, { apps, accessLog: path })
  const lines = async (): Promise<string[]> =>
    (await readFile(path, 'utf8').catch(() => '')).trim().split('\n')
  const ask = () =>
    fetchRaw(t, running.port, {
      target: '/x?secret=1',
      fields: 'User-Agent: a"b\\ä\r\nReferer: /r?s\r\n',
    })
  const written = async (count: number): Promise<string> => {
    for (let i = 0; i < 500 && ((await lines()).at(count - 1) ?? '') === ''; i++) {
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    return (await lines())[count - 1] ?? ''
  }
  await ask()
  const line = JSON.parse(await written(1)) as Record<string, unknown>
  t.match(line, {
    method: 'GET',
    target: '/x',
    ua: 'a"b\\ä',
    status: 200,
    bytesOut: 4,
    cache: 'none',
    hedged: false,
  })
  for (const name of [
    'ts',
    'reqId',
    'client',
    'host',
    'bytesIn',
    'durMs',
    'ttfbMs',
    'app',
    'appStatus',
  ]) {
    t.ok(name in line, name)
  }
  await rename(path, `${path}.1`)
  await running.reload({ apps, accessLog: path, accessLogFormat: 'combined' })
  await ask()
  t.match(
    await written(1),
    /^127\.0\.0\.1 - - \[\d\d\/\w{3}\/\d{4}:[\d:]{8} \+0000\] "GET \/x HTTP\/1\.1" 200 4 "\/r" "a\\x22b\\x5c\\xe4"$/,
  )
  running.child.kill('SIGTERM')
  await once(running.child, 'exit')
})
