/** What each command does when trackers do not let it, are away, or are no trackers. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { startPeer } from '../peer.ts'
import { runInside } from './omg.ts'

/** Every command that asks a tracker, with arguments that it takes. */
const commands: readonly string[] = [
  'put FILE photos:a',
  'get photos:a new',
  'cat photos:a',
  'sync FOLDER photos:b/',
  'ls photos:',
  'stat photos:a',
  'set photos:a --class web',
  'mv photos:a b',
  'rm photos:a',
  'rm -r photos: --yes',
  'undelete photos:a',
  'trash list photos:',
  'trash empty photos: --yes',
  'status',
  'top --count 1',
  'why photos:a',
  'stats',
  'node key node9',
  'host list',
  'host add node9 --ip 127.0.0.1',
  'host modify node9 --port 1',
  'host mark node9 dead --yes',
  'host delete node9 --yes',
  'device list',
  'device summary',
  'device next',
  'device add node9 9',
  'device mark 9 dead --yes',
  'device modify 9 --weight 1',
  'domain list',
  'domain add films',
  'domain modify films --trash-seconds 1',
  'domain delete films --yes',
  'class list',
  'class add films web',
  'class modify films web --mindevcount 1',
  'class delete films web --yes',
  'setting list',
  'setting set zones x',
  'setting unset zones',
  'token list',
  'token add web --scope admin',
  'token delete web --yes',
  'drain list',
  'drain start dev9',
  'drain stop dev9',
  'fsck status',
  'fsck start',
  'fsck stop',
  'fsck reset',
  'fsck log',
  'fsck taillog',
  'fsck clearlog --yes',
  'scrub list',
  'scrub start',
  'scrub stop 1',
  'scrub damage',
  'scrub sweeps',
  'rebalance status',
  'rebalance policy from_devices=1',
  'rebalance test',
  'rebalance start',
  'rebalance stop',
  'rebalance reset',
  'queue list',
  'queue stuck',
  'queue replicate-now',
  'queue refresh',
  'locate photos:a',
  'fids',
  'debug photos:a',
  'audit',
  'login',
]

/** Those that ask no tracker, something else first, or say what they find as a finding. */
const others: readonly string[] = [
  'up',
  'tracker',
  'storage-node',
  'reproxy',
  'completion',
  'profile list',
  'profile use',
  'profile delete',
  'doctor',
  'node add',
  'console',
]

/** Runs all of them at once: each fails with one line on standard error and changes nothing here. */
async function allFail(t: Test, trackers: string, line: RegExp): Promise<void> {
  const folder = t.testdir({ file: 'x', folder: { file: 'x' } })
  const config = join(folder, 'config.json')
  const env = { OMG_TRACKERS: trackers, OMG_TOKEN: 'a-token', OMG_CONFIG: config }
  const fill: Readonly<Record<string, string>> = {
    FILE: join(folder, 'file'),
    FOLDER: join(folder, 'folder'),
    new: join(folder, 'new'),
  }
  await Promise.all(
    commands.map(async command => {
      const args = command.split(' ').map(word => fill[word] ?? word)
      const { status, stdout, stderr } = await runInside(args, { env })
      t.same({ status, stdout }, { status: 1, stdout: '' }, command)
      t.match(stderr, /^omg [a-z-]+( [a-z-]+)?: [^\n]+\n$/, command)
      t.match(stderr, line, command)
    }),
  )
  t.same(readdirSync(folder).toSorted(), ['file', 'folder'])
  t.notOk(existsSync(config))
}

// Each session listens to signals.
process.setMaxListeners(2 * commands.length)

t.test('every command of the reference is in one of the two lists', async t => {
  const page = fileURLToPath(new URL('../../../../docs/cli.md', import.meta.url))
  const named = [...readFileSync(page, 'utf8').matchAll(/^### omg (.+)$/gm)].map(
    ([, name = '']) => name,
  )
  for (const name of named) {
    t.ok(
      others.includes(name) || commands.some(one => `${one} `.startsWith(`${name} `)),
      `omg ${name}`,
    )
  }
})

t.test('a token that does not allow it', async t => {
  const { url } = await startPeer(t, (request, reply) => {
    request.resume()
    reply.writeHead(403, { 'content-type': 'application/json' })
    reply.end(JSON.stringify({ statusCode: 403, code: 'forbidden', message: 'not this token' }))
  })
  await allFail(t, url, /forbidden: not this token \(give another token with OMG_TOKEN /)
})

t.test('a tracker that is not there', async t => {
  await allFail(t, 'http://127.0.0.1:1', /tracker_unreachable: 127\.0\.0\.1:1: .*ECONNREFUSED/)
})

t.test('something else that answers where a tracker was meant to be', async t => {
  const { url } = await startPeer(t, (request, reply) => {
    request.resume()
    reply.writeHead(404, { 'content-type': 'text/html' }).end('<html><body>Nothing</body></html>')
  })
  await allFail(t, url, /127\.0\.0\.1:\d+/)
})
