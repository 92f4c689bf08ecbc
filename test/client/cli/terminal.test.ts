/** `omg` at a terminal, which script(1) of util-linux makes. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import type { ClusterStatus } from '../../../common/protocol/status.ts'
import { omg } from '../../helpers/up.ts'
import { startPeer } from '../peer.ts'
import { runInside } from './omg.ts'

const { stdout: version } = spawnSync('script', ['--version'], { encoding: 'utf8' })
const skip = /util-linux/.test(version ?? '') ? false : 'no script(1) of util-linux'

const longName = 'a-machine-with-a-name-of-forty-characters'.slice(0, 40)

const status: ClusterStatus = {
  version: '0.1.0',
  hosts: ['node1', longName].map((name, id) => ({
    id,
    name,
    status: 'alive',
    ip: '10.0.0.1',
    port: 7500,
    getPort: null,
    altip: null,
    altmask: null,
    zone: null,
    observed: id === 0 ? 'reachable' : 'unreachable',
  })),
  devices: ['node1', longName].map((host, devid) => ({
    devid: devid + 1,
    host,
    status: 'alive',
    weight: 100,
    totalBytes: 1e12,
    usedBytes: 2e11,
    observed: 'writeable',
    lost: false,
  })),
  files: 7,
  openUploads: 0,
  queues: { replicate: { waiting: 0, due: 0 }, delete: { waiting: 0, due: 0 } },
  healing: { lost: [], files: 0, secondsToSafe: 0 },
  standbys: { count: 0, asynchronous: 0 },
}

/** A tracker that shows a status and the cost of a change, and notes what it is asked to change. */
async function startTracker(t: Test, shown = status) {
  const changes: string[] = []
  const { url: tracker } = await startPeer(t, ({ method, url = '' }, reply) => {
    const answers: Record<string, unknown> = {
      '/v1/status': shown,
      '/v1/rehearsals': { uploads: 2, trash: 1 },
    }
    if (method !== 'GET' && !(url in answers)) changes.push(`${method} ${url}`)
    reply.setHeader('content-type', 'application/json')
    reply.end(JSON.stringify(answers[url] ?? {}))
  })
  return { changes, env: { OMG_TRACKERS: tracker, OMG_TOKEN: 'a-token' } }
}

/**
 * Runs `omg` at a terminal of 80 columns and types `keys` as soon as `prompt` is on it. Says what was
 * on the terminal, and with which status it ended.
 */
async function atTerminal(
  args: readonly string[],
  { env, prompt, keys }: { env: NodeJS.ProcessEnv; prompt?: RegExp; keys?: string },
): Promise<{ readonly status: number | null; readonly screen: string }> {
  const words = [process.execPath, omg, ...args].map(word => `'${word}'`).join(' ')
  // The shell outlives Ctrl-C, to say how the terminal was left.
  const command = `trap : INT; stty cols 80 rows 24; ${words}; code=$?; stty -a | grep -owE -- '-?(echo|icanon)'; exit $code`
  const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
    env: { PATH: process.env['PATH'], TERM: 'xterm-256color', SHELL: '/bin/sh', ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  let screen = ''
  let typed = false
  for await (const text of child.stdout.setEncoding('utf8') as AsyncIterable<string>) {
    screen += text
    if (typed || !prompt?.test(screen)) continue
    typed = true
    child.stdin.write(keys ?? '')
  }
  const [code] = (await ended) as [number | null]
  child.stdin.destroy()
  return { status: code, screen }
}

// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u0009\u000b-\u001f\u007f]/

t.test(
  'what destroys asks the person at the terminal, and does it for y alone',
  { skip },
  async t => {
    const { changes, env } = await startTracker(t)
    const args = ['domain', 'delete', 'films']
    const prompt =
      /Really delete .* \(2 open uploads given up; 1 deleted file gone.*\)\? \[y\/N\] $/s
    for (const [keys, end] of [
      ['n\n', { status: 1, says: /not confirmed, nothing was done/ }],
      ['\n', { status: 1, says: /not confirmed/ }],
      ['\u0004', { status: 1, says: /not confirmed/ }],
      ['\u0003', { status: 130, says: /omg domain delete: interrupted/ }],
    ] as const) {
      const { status, screen } = await atTerminal(args, { env, prompt, keys })
      t.equal(status, end.status, JSON.stringify(keys))
      t.match(screen, end.says)
      t.match(screen, /\nicanon\r\necho\r\n$/, 'the terminal shows and edits what is typed')
    }
    t.same(changes, [])
    const yes = await atTerminal(args, { env, prompt, keys: 'y\n' })
    t.equal(yes.status, 0, yes.screen)
    t.same(changes, ['DELETE /v1/domains/films'])
  },
)

t.test(
  'status is coloured at a terminal, within its width, unless NO_COLOR is set',
  { skip },
  async t => {
    const { env } = await startTracker(t)
    const { status, screen } = await atTerminal(['status'], { env })
    t.equal(status, 1, 'a host is not reachable')
    t.match(screen, '\u001b[31munreachable')
    // oxlint-disable-next-line no-control-regex
    const lines = screen.replaceAll(/\u001b\[\d+m/g, '').split('\r\n')
    for (const line of lines) {
      t.ok(line.length <= 80, line)
      t.notMatch(line, control)
    }
    const plain = await atTerminal(['status'], { env: { ...env, NO_COLOR: '1' } })
    t.notMatch(plain.screen.replaceAll('\r\n', ''), control)
  },
)

t.test(
  'what is no terminal gets no control characters, not even in the name of a host',
  async t => {
    const { env } = await startTracker(t)
    for (const args of [['status'], ['top', '--count', '1'], ['device', 'list', '--help']]) {
      const { stdout, stderr } = await runInside(args, { env })
      t.notMatch(stdout + stderr, control, args.join(' '))
      t.not(stdout, '')
    }
  },
)

t.test('status names what is wrong with a device that answers, exit 1', async t => {
  const hosts = status.hosts.map(host => ({ ...host, observed: 'reachable' as const }))
  const [first, second] = status.devices
  const told = async (device: object) => {
    const devices = [first!, { ...second!, ...device }]
    const { env } = await startTracker(t, { ...status, hosts, devices })
    return runInside(['status'], { env })
  }
  t.equal((await told({})).status, 0)
  const broken = await told({ observed: 'readable', problem: 'read-only\u001b[2J' })
  t.equal(broken.status, 1)
  t.match(broken.stdout, /^dev2: read-only\\x1b\[2J$/m)
  const gone = await told({ status: 'dead', observed: 'unknown', problem: 'gone' })
  t.equal(gone.status, 0)
  t.notMatch(gone.stdout, 'gone')
})

t.test('Ctrl-C ends top and gives the terminal back as it was', { skip }, async t => {
  const { env } = await startTracker(t)
  const { status, screen } = await atTerminal(['top', '--interval', '0.1'], {
    env,
    prompt: /QUEUE/,
    keys: '\u0003',
  })
  t.equal(status, 0)
  const [shown = '', after = ''] = screen.split('\u001b[?1049l')
  t.ok(shown.includes('\u001b[?1049h') && shown.includes('\u001b[?25l'))
  t.match(screen, '\u001b[?25h', 'the cursor is back')
  t.match(after, /^icanon\r\necho\r\n$/)
})
