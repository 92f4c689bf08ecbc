import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { version } from '../../../common/version.ts'
import { startPeer } from '../peer.ts'
import { runInside, runOmg, startOmg } from './omg.ts'

const token = { OMG_TOKEN: 'a-token' }

/** A tracker that answers everything with `{}` and notes who asked for what. */
async function startTracker(t: Test) {
  const requests: { readonly url: string; readonly authorization: string | undefined }[] = []
  const peer = await startPeer(t, ({ url = '', headers }, reply) => {
    requests.push({ url, authorization: headers.authorization })
    reply.setHeader('content-type', 'application/json').end('{}')
  })
  return { url: peer.url, requests }
}

t.test('what cannot be understood is told with the usage, exit 2, and nothing is sent', async t => {
  const tracker = await startTracker(t)
  const env = { ...token, OMG_TRACKERS: tracker.url }
  const cases: [string[], RegExp][] = [
    [[], /^Usage: omg COMMAND/],
    [['host'], /^Usage: omg host/],
    [['puts', 'a', 'b:c'], /^omg: unknown command 'puts' \(Did you mean put\?\)\nUsage: omg /],
    [['host', 'lst'], /^omg host: unknown command 'lst' \(Did you mean .*list/],
    [['put'], /^omg put: missing required argument 'path'\nUsage: omg put .*DOMAIN:KEY\n$/],
    [['put', 'a'], /^omg put: "a" is not DOMAIN:KEY \(write "a:" for all of the domain\)\nUsage/],
    [['put', 'a:b'], /^omg put: name the files/],
    [
      ['put', 'a', 'b', 'photos:c'],
      /^omg put: several files go to a folder, .* as in "photos:c\/"\n/,
    ],
    [['put', '-', 'photos:'], /^omg put: standard input has no name: give the whole DOMAIN:KEY\n/],
    [['put', '--durabilty', 'fast', 'a', 'b:c'], /Did you mean --durability\?/],
    [['put', '--durability', 'much', 'a', 'b:c'], /must be one of fast, safe, everywhere\.\n$/],
    [['put', '--meta', 'x', 'a', 'b:c'], /^omg put: option '--meta .* It must be NAME=VALUE\.\n$/],
    [['get', 'photos:'], /^omg get: "photos:": a key has at least one byte\n/],
    [['get', 'photos:a/..'], /^omg get: "a\/\.\." does not end with a name/],
    [['get', 'photos:a', '-', '--json'], /^omg get: --json and - /],
    [['cat', 'photos:a', '--json'], /^omg cat: --json/],
    [
      ['ls', 'photos'],
      /^omg ls: "photos" is not DOMAIN:KEY \(write "photos:" for all of the domain\)\nUsage: omg ls/,
    ],
    [['stat', 'photos:a', 'photos:b'], /^omg stat: too many arguments/],
    [['stat', `photos:${'k'.repeat(1025)}`], /a key has at most 1024 bytes/],
    [['mv', 'photos:a', 'other:b'], /^omg mv: "other:b" is not in "photos"/],
    [['mv', 'photos:a', ''], /^omg mv: "" is neither KEY nor DOMAIN:KEY\n/],
    [['mv', 'photos:a', ':b'], /^omg mv: ":b" is neither KEY nor DOMAIN:KEY\n/],
    [['get', 'photos:a', ''], /^omg get: the file to write has no name\n/],
    [['ls', 'a\\:b'], /^omg ls: "a.+b" is not DOMAIN:KEY/],
    [
      ['rm', '-r', 'photos:cats', '--yes'],
      /^omg rm: a folder ends with \/, as in "photos:cats\/"\n/,
    ],
    [['rm', '-r', 'photos:'], /^omg rm: without a terminal it needs --yes to delete every file/],
    [['device', 'mark', 'dev5', 'dead'], /^omg device mark: without a terminal it needs --yes/],
    [['device', 'mark', 'node1', '5', 'dead'], /needs --yes to give up all copies on dev5\n/],
    [['device', 'modify', '5', '--status', 'dead'], /^omg device modify: .*needs --yes/],
    [['device', 'mark', '5', 'asleep'], /^omg device mark: the status is one of alive/],
    [['device', 'mark', 'five', 'down'], /^omg device mark: "five" is not a device number/],
    [['host', 'mark', 'node1', 'dead'], /^omg host mark: without a terminal it needs --yes/],
    [['host', 'add', 'x', '--port', '0'], /must be a whole number from 1 to 65535\.\n$/],
    [
      ['class', 'modify', 'photos', 'web'],
      /^omg class modify: nothing to change: give at least one option\n/,
    ],
    [['domain', 'rm', 'photos'], /^omg domain delete: without a terminal it needs --yes/],
    [['token', 'delete', '1'], /^omg token delete: without a terminal it needs --yes/],
    [['token', 'add', 'web'], /^omg token add: required option '--scope <SCOPE>' not specified/],
    [['token', 'add', 'web', '--scope', 'write'], /^omg token add: --scope write needs --domain\n/],
    [['put', '-r', 'a', 'photos:b'], /^omg put: folders go to a folder, .* as in "photos:b\/"\n/],
    [['put', '--resume', 'a', 'photos:b'], /^omg put: --resume goes with -r\n/],
    [['put', '-j', '0', 'a', 'photos:b'], /must be a whole number from 1 to 64\.\n$/],
    [['get', '-r', 'photos:cats'], /^omg get: a folder ends with \/, as in "photos:cats\/"\n/],
    [['get', '-r', 'photos:', '-'], /^omg get: a folder cannot be written to standard output\n/],
    [['sync', 'a', 'photos:b/', '--delete'], /^omg sync: without a terminal it needs --yes/],
    [['set', 'photos:a'], /^omg set: nothing to change: give at least one option\n/],
    [['top', '--interval', '0'], /must be a number from 0\.1 to 3600\.\n$/],
    [['doctor', '--site', 'x'], /^omg doctor: --site: "x" is not an http URL\n/],
    [['node', 'add', 'nonsense'], /^omg node add: not an http URL: "nonsense"\n/],
    [['node', 'add', 'ftp://user:pa55@h'], /^omg node add: not an http URL: "ftp:\/\/…@h"\n/],
    [['node', 'add', 'https://127.0.0.1'], /^omg node add: not an http URL: /],
    [['node', 'add', 'http://127.0.0.1/dev1'], /^omg node add: not the root of a storage node: /],
    [['scrub', 'start', '--device', 'x'], /^omg scrub start: "x" is not a device number/],
    [['fsck', 'clearlog'], /^omg fsck clearlog: without a terminal it needs --yes/],
    [
      ['trash', 'empty', 'photos:a'],
      /^omg trash empty: the trash can only be emptied as a whole: "photos:"\n/,
    ],
    [['statsu'], /^omg: unknown command 'statsu' \(Did you mean .*stat/],
    [
      ['ls', 'photos:', '--trackers', 'here'],
      /^omg ls: --trackers: "here" is not the URL of a tracker/,
    ],
  ]
  for (const [args, message] of cases) {
    const { status, stdout, stderr } = await runInside(args, { env })
    t.same({ status, stdout }, { status: 2, stdout: '' }, `omg ${args.join(' ').slice(0, 60)}`)
    t.match(stderr, message)
  }
  t.same(tracker.requests, [])
})

t.test('what up cannot be started with is told on one line, exit 2', async t => {
  const cases: [string[], string][] = [
    [['--port-base', 'abc'], '--port-base'],
    [['--port-base', '65020'], '--port-base'],
    [['--hosts', '0'], '--hosts'],
    [['--hosts', '51'], '--hosts'],
    [['--devices', '51'], '--devices'],
    [['--app', 'nowhere'], '--app'],
    [['--log-level', 'loud'], '--log-level'],
  ]
  for (const [args, setting] of cases) {
    const { status, stderr } = await runInside(['up', '--data', t.testdirName, ...args])
    t.equal(status, 2, args.join(' '))
    t.ok(stderr.startsWith('omg up: ') && stderr.includes(setting), stderr)
    t.equal(stderr.trimEnd().split('\n').length, 1)
  }
})

t.test('help and version are printed, with the meaning of the exit status', async t => {
  t.same(await runInside(['--version']), { status: 0, stdout: `${version}\n`, stderr: '' })
  for (const args of [['--help'], ['help', 'put'], ['put', '--help'], ['token', 'add', '-h']]) {
    const { status, stdout } = await runInside(args)
    t.equal(status, 0, args.join(' '))
    t.match(stdout, /^Usage: omg /)
    t.match(stdout, /Exit status:\n +0 /)
  }
})

t.test(
  'a daemon gets everything behind its name, also what omg itself would understand',
  async t => {
    for (const daemon of ['tracker', 'storage-node', 'reproxy', 'photo-app']) {
      const [help, wrong] = await Promise.all([
        runOmg([daemon, '--help']),
        runOmg([daemon, '--json', 'x', '--version']),
      ])
      t.equal(help.status, 0)
      t.match(help.stdout, `Usage: omg ${daemon} [settings]`)
      t.match(help.stdout, '--log-level')
      t.equal(wrong.status, 2)
      t.match(wrong.stderr, new RegExp(`^omg ${daemon}: .*--json`))
    }
  },
)

t.test('without a token nothing is sent', async t => {
  const tracker = await startTracker(t)
  const env = { OMG_TRACKERS: tracker.url }
  const { status, stderr } = await runInside(['ls', 'photos:'], { env })
  t.equal(status, 1)
  t.match(stderr, /^omg ls: unauthorized: .*OMG_TOKEN.*\n$/)
  const empty = t.testdir({ token: '\n' })
  const second = await runInside(['ls', 'photos:', '--token-file', join(empty, 'token')], { env })
  t.equal(second.status, 1)
  t.match(second.stderr, /token holds no token/)
  t.same(tracker.requests, [])
})

t.test('the token comes from a file before the environment', async t => {
  const tracker = await startTracker(t)
  const folder = t.testdir({ token: 'from-file\n' })
  const file = ['--token-file', join(folder, 'token')]
  const env = { OMG_TRACKERS: tracker.url, OMG_TOKEN: 'from-env' }
  await runInside(['setting', 'list', ...file], { env })
  await runInside(['--trackers', tracker.url, 'setting', 'list'], { env: token })
  t.same(tracker.requests, [
    { url: '/v1/settings', authorization: 'Bearer from-file' },
    { url: '/v1/settings', authorization: 'Bearer a-token' },
  ])
})

t.test('the token that omg up has left is used for its own tracker only', async t => {
  const tracker = await startTracker(t)
  const cwd = t.testdir()
  mkdirSync(join(cwd, 'data'))
  writeFileSync(join(cwd, 'data', 'admin-token'), 'local')
  const { stderr } = await runOmg(['setting', 'list'], { cwd, env: { OMG_TRACKERS: tracker.url } })
  t.match(stderr, 'there is no token')
  t.same(tracker.requests, [])
})

t.test('a command that waits for a tracker can be interrupted', async t => {
  let asked = (): void => {}
  const waiting = new Promise<void>(resolve => (asked = resolve))
  const { url } = await startPeer(t, asked)
  const env = { ...token, OMG_TRACKERS: url }
  const child = startOmg(['ls', 'photos:'], { env })
  const ended = once(child, 'exit')
  await waiting
  child.kill('SIGINT')
  t.same(await ended, [130, null])
})
