import { once } from 'node:events'
import { chmodSync, existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { directory } from '../../helpers/directory.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { startPeer } from '../peer.ts'
import { runInside, startOmg } from './omg.ts'

/** A tracker that takes one token, and notes those that it was shown. */
async function startTracker(t: Test, token: string) {
  const shown: (string | undefined)[] = []
  const { url } = await startPeer(t, ({ headers }, reply) => {
    shown.push(headers.authorization)
    const good = headers.authorization === `Bearer ${token}`
    reply.writeHead(good ? 200 : 401, { 'content-type': 'application/json' })
    reply.end(good ? '{}' : '{"code":"unauthorized","message":"no"}')
  })
  return { url, shown }
}

t.test('after a login neither tracker nor token needs to be named', async t => {
  const tracker = await startTracker(t, 'right')
  const env = { XDG_CONFIG_HOME: t.testdir() }
  const path = join(env.XDG_CONFIG_HOME, 'omgfiles', 'config.json')
  const done = await runInside(['login', '--trackers', tracker.url], { env, input: 'right\n' })
  t.same(done, { status: 0, stdout: `default  saved in ${path}\n`, stderr: '' })
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.equal((await runInside(['setting', 'list'], { env })).status, 0)
  t.same(tracker.shown, ['Bearer right', 'Bearer right'])
})

t.test('what omg up prints is all that it takes to use it', async t => {
  const { url } = await testDatabase(t)
  const data = await directory(t)
  const env = { DATABASE_URL: url, OMG_CONFIG: join(data, 'omg.json') }
  const up = startOmg(['up', '--port-base', '0', '--data', data, '--hosts', '2'], { env })
  const ended = once(up, 'exit')
  t.teardown(async () => {
    up.kill('SIGTERM')
    await ended
  })
  let printed = ''
  for await (const text of up.stdout.setEncoding('utf8') as AsyncIterable<string>) {
    printed += text
    if (printed.endsWith('Ctrl-C stops it all.\n')) break
  }
  const [, login = ''] = /^ {2}To use omg +omg (login .+)$/m.exec(printed) ?? []
  t.match(await runInside(login.split(' '), { env }), { status: 0, stderr: '' })
  t.match(await runInside(['status'], { env }), { status: 0, stdout: /2 hosts, 4 devices/ })
})

t.test('a token that is refused is not saved', async t => {
  const tracker = await startTracker(t, 'right')
  const env = { XDG_CONFIG_HOME: t.testdir() }
  for (const input of ['wrong', '', 'two words']) {
    const { status, stderr } = await runInside(['login', '--trackers', tracker.url], { env, input })
    t.equal(status, 1)
    t.match(stderr, /^omg login: unauthorized: [^\n]+\n$/)
  }
  t.notOk(existsSync(join(env.XDG_CONFIG_HOME, 'omgfiles')))
  t.equal((await runInside(['login'], { env, input: 'right' })).status, 2)
})

t.test('of several profiles one is used, or the one that is named', async t => {
  const [one, two] = [await startTracker(t, 'token1'), await startTracker(t, 'token2')]
  const env = { OMG_CONFIG: join(t.testdir(), 'omg.json') }
  await runInside(['login', 'one', '--trackers', one.url], { env, input: 'token1' })
  await runInside(['login', 'two', '--trackers', two.url], { env, input: 'token2' })
  const listed = await runInside(['profile', 'list', '--json'], { env })
  t.match(JSON.parse(listed.stdout), [
    { name: 'one', trackers: [one.url], current: false },
    { name: 'two', trackers: [two.url], current: true },
  ])
  const asked = async (args: string[], more: NodeJS.ProcessEnv = {}): Promise<string> => {
    one.shown.length = 0
    two.shown.length = 0
    await runInside(['setting', 'list', ...args], { env: { ...env, ...more } })
    return JSON.stringify([one.shown, two.shown])
  }
  t.equal(await asked([]), '[[],["Bearer token2"]]')
  t.equal(await asked(['--profile', 'one']), '[["Bearer token1"],[]]')
  t.equal(await asked([], { OMG_PROFILE: 'one' }), '[["Bearer token1"],[]]')
  t.equal(await asked(['--profile', 'one'], { OMG_TOKEN: 'other' }), '[["Bearer token1"],[]]')
  // A token goes to the trackers it was saved for and to no others.
  t.equal(await asked(['--trackers', one.url]), '[[],[]]')
  t.equal(
    (await runInside(['profile', 'use', 'one', '--json'], { env })).stdout,
    '{"profile":"one"}\n',
  )
  t.equal(await asked([]), '[["Bearer token1"],[]]')
  t.equal((await runInside(['profile', 'rm', 'one'], { env })).status, 0)
  t.notMatch(readFileSync(env.OMG_CONFIG, 'utf8'), 'token1')
  for (const args of [
    ['setting', 'list', '--profile', 'one'],
    ['profile', 'use', 'one'],
    ['profile', 'rm', 'one'],
  ]) {
    const { status, stderr } = await runInside(args, { env })
    t.equal(status, 1)
    t.match(stderr, /no profile "one" \(omg profile list shows them\)/)
  }
})

t.test('a file of profiles that others can read, or that is damaged, is not used', async t => {
  const path = join(t.testdir({ 'omg.json': '{"profiles":{}}' }), 'omg.json')
  const env = { OMG_CONFIG: path }
  chmodSync(path, 0o644)
  const open = await runInside(['profile', 'list'], { env })
  t.equal(open.status, 1)
  t.match(open.stderr, 'chmod 600')
  const damaged = join(t.testdir({ 'omg.json': '{"profiles":[' }), 'omg.json')
  chmodSync(damaged, 0o600)
  const broken = await runInside(['ls', 'a:'], { env: { OMG_CONFIG: damaged } })
  t.equal(broken.status, 1)
  t.match(broken.stderr, /is not what omg login writes: [^\n]+\n$/)
})
