import { writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startCluster, type Cluster, type ClusterOptions } from '../../helpers/cluster.ts'
import { directory } from '../../helpers/directory.ts'
import { replicasOf } from '../replicas.ts'
import { closeLine, open, put, write } from '../wire/files.ts'
import { lineOf, openTalk, pairsOf, type Talk } from '../wire/talk.ts'

interface Setup {
  readonly cluster: Cluster
  readonly talk: Talk
  /** What the plugins have noted by calling `note`. */
  readonly notes: unknown[]
}

/** A cluster whose tracker has these plugins; each is the source of an object literal. */
async function start(
  t: Test,
  plugins: readonly string[],
  options: ClusterOptions = {},
): Promise<Setup> {
  const dir = await directory(t)
  const channel = `notes of ${dir}`
  const notes: unknown[] = []
  Object.assign(globalThis, { [channel]: notes })
  t.teardown(() => Reflect.deleteProperty(globalThis, channel))
  const paths = await Promise.all(
    plugins.map(async (source, n) => {
      const path = join(dir, `plugin${n}.mjs`)
      const note = `const note = value => globalThis[${JSON.stringify(channel)}].push(value)`
      await writeFile(path, `${note}\nexport const plugin = ${source}\n`)
      return path
    }),
  )
  const cluster = await startCluster(t, {
    hosts: 3,
    open: true,
    classes: { single: 1 },
    ...options,
    tracker: { plugins: paths.join(',') },
  })
  return { cluster, talk: await openTalk(t, cluster.wire), notes }
}

const info = (key: string): string => lineOf('file_info', { domain: 'test', key })

t.test('a hook sees the arguments, the domain known, and may change them', async t => {
  const { talk, notes } = await start(t, [
    `{
      name: 'all',
      hooks: {
        cmd_create_open({ command, address, args }) {
          note([command, address, args.get('domain'), Number(args.get('dmid')) > 0, args.has('class')])
          args.set('class', 'single')
        },
        cmd_create_close: ({ args }) => args.set('key', Buffer.from('\\xff' + args.get('key'), 'latin1')) ?? false,
        cmd_file_info({ args }) {
          note([...args.bytes('key')])
          if (args.get('key') === 'alias') args.set('key', Buffer.from('\\xffkey', 'latin1'))
          args.set('devices', '1')
        },
      },
    }`,
  ])
  await put(talk, 'key', 'hello')
  const pairs = pairsOf(await talk.ask(info('alias')))
  t.equal(pairs.get('key'), '\xffkey')
  t.equal(pairs.get('class'), 'single')
  t.ok(pairs.has('devids'))
  t.equal(await talk.code(info('key')), 'unknown_key')
  t.strictSame(notes[0], ['create_open', '127.0.0.1', 'test', true, false])
  t.strictSame(notes.at(-1), [...Buffer.from('key')])
})

t.test('false ends a command with plugin_aborted, after the check of the domain', async t => {
  const { talk, notes, cluster } = await start(t, [
    `{
      name: 'no',
      hooks: Object.fromEntries(
        ['updateclass', 'delete', 'file_info', 'file_debug', 'get_paths'].map(command => [
          'cmd_' + command,
          async ({ args }) => {
            note(command)
            const says = args.get('says')
            return says === 'nothing' ? undefined : says === 'yes'
          },
        ]),
      ),
    }`,
  ])
  await put(talk, 'key', 'hello')
  const rows: [command: string, args: Record<string, string>, code: RegExp | string][] = [
    ['updateclass', { class: 'single' }, 'plugin_aborted'],
    ['delete', {}, 'plugin_aborted'],
    ['file_info', {}, 'plugin_aborted'],
    ['file_debug', {}, 'plugin_aborted'],
    ['get_paths', {}, 'plugin_aborted'],
    ['file_info', { says: 'yes' }, /^OK /],
    ['file_debug', { says: 'nothing' }, /^OK /],
    ['get_paths', { says: 'nothing' }, /^OK /],
    ['get_paths', { key: '' }, 'plugin_aborted'],
    ['file_debug', { key: '' }, 'no_key'],
    ['delete', { domain: 'none' }, 'unreg_domain'],
    ['delete', { domain: '' }, 'no_domain'],
    ['updateclass', { says: 'yes', class: 'single' }, 'OK '],
    ['delete', { says: 'yes' }, 'OK '],
  ]
  for (const [command, args, code] of rows) {
    const answer = await talk.code(lineOf(command, { domain: 'test', key: 'key', ...args }))
    t.match(answer, code, `${command} ${JSON.stringify(args)}`)
  }
  t.equal(
    await talk.ask('delete domain=test&key=key&callid=9'),
    'ERR plugin_aborted Action+aborted+by+plugin 9',
  )
  const asked = notes.length
  t.match(await talk.ask('file_debug fid=1'), /^OK /, 'by number nobody is asked')
  t.match(await talk.ask('list_keys domain=test'), /^ERR none_match /)
  t.equal(notes.length, asked)
  await cluster.settled()
})

t.test('what a hook throws', async t => {
  const { talk } = await start(t, [
    `{
      name: 'throws',
      hooks: {
        cmd_create_open({ args }) { if (args.get('key') === 'bad') throw new Error('not "here" é') },
        cmd_create_close({ args }) { if (args.get('key') === 'late') throw new Error('secret') },
      },
    }`,
  ])
  t.equal(
    await talk.ask('create_open domain=test&key=bad'),
    'ERR plugin_aborted not+%22here%22+%C3%A9',
  )
  t.equal(await talk.code('create_open domain=none&key=bad'), 'unreg_domain')
  const opened = await open(talk, 'late')
  await write(opened.targets[0]!.path, 'hello')
  t.equal(await talk.ask(closeLine(opened, 'late')), 'ERR failure Operation+failed')
  t.equal(await talk.ask(closeLine(opened, 'good')), 'OK ', 'the upload is still open')
})

t.test('a file that is refused once stored is gone with its bytes', async t => {
  const { cluster, talk, notes } = await start(
    t,
    [
      `{
        name: 'stored',
        hooks: {
          file_stored({ args }) {
            note(args.get('key'))
            return !args.get('key').startsWith('bad')
          },
        },
      }`,
    ],
    { settings: { delete_grace_seconds: '0' } },
  )
  await put(talk, 'good', 'hello')
  t.match(await talk.ask(info('good')), /^OK /)
  await t.rejects(put(talk, 'bad', 'hello'), /ERR plugin_aborted Action/)
  t.equal(await talk.code(info('bad')), 'unknown_key')

  const given = await open(talk, 'given-up')
  t.equal(await talk.ask(closeLine(given, '')), 'OK ')
  t.strictSame(notes, ['good', 'bad'], 'what is given up is not stored')
  await cluster.settled()
  t.equal((await cluster.replicas()).length, 2, 'those of the good one')
})

t.test('plugins choose devices for writing, reading and copying', async t => {
  const elsewhere: string[] = []
  const server = createServer((request, response) => {
    elsewhere.push(`${request.method} ${request.url} ${request.headers.host}`)
    response.end('hello')
  }).listen(0, '127.0.0.2')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const { cluster, talk, notes } = await start(
    t,
    [
      `{
        name: 'order',
        hooks: {
          cmd_create_open_order_devices(devices, { address, args }) {
            note(['write', address, devices.length, devices.every(d => d.host.ip === '127.0.0.1')])
            const first = Number(args.get('first'))
            if (!first) return
            return [...devices.filter(d => d.devid === first), ...devices].concat({ devid: 99 })
          },
          cmd_get_paths_order_devices(devices, { args }) {
            const first = Number(args.get('first'))
            return first ? devices.filter(d => d.devid === first) : undefined
          },
          replicate_order_final_choices(devices, { fid }) {
            note(['copy', fid, devices.map(d => d.devid)])
          },
          replicate_alternate_source(source) {
            note(['source', source.fid, source.devid, source.ip, /^\\/dev4\\/.*\\.fid/.test(source.path)])
            Object.assign(source, { ip: '127.0.0.2', port: ${port}, path: '/copy', host: 'a.example' })
          },
        },
      }`,
    ],
    { devices: 2 },
  )
  for (const first of ['1', '2', '3', '4', '5', '6']) {
    const { targets } = await open(talk, 'x', { first, multi_dest: '1' })
    t.equal(targets[0]?.devid, Number(first))
    t.equal(targets.length, 3)
    const hosts = targets.map(({ devid }) => Math.ceil(devid / 2))
    t.equal(new Set(hosts).size, 3, 'on distinct hosts')
  }
  t.strictSame(notes[0], ['write', '127.0.0.1', 6, true])
  notes.length = 0
  const { fid } = await put(talk, 'key', 'hello', { first: '4' })
  await cluster.settled()
  t.equal((await replicasOf(cluster, fid)).length, 2)
  t.match(notes.slice(-2), [
    ['copy', fid, [4]],
    ['source', fid, 4, '127.0.0.1', true],
  ])
  t.strictSame(elsewhere, ['GET /copy a.example'], 'the copy came from there')
  const debug = pairsOf(await talk.ask('file_debug domain=test&key=key'))
  for (const devid of debug.get('devids')!.split(',')) {
    const line = lineOf('get_paths', { domain: 'test', key: 'key', noverify: 1, first: devid })
    const pairs = pairsOf(await talk.ask(line))
    t.equal(pairs.get('paths'), '1')
    t.match(pairs.get('path1'), `/dev${devid}/`)
  }
  t.equal(pairsOf(await talk.ask('get_paths domain=test&key=key')).get('paths'), '2')
})

t.test('commands of plugins, of which the last of a name counts', async t => {
  const { talk } = await start(t, [
    `{ name: 'first', hooks: { cmd_delete: () => false }, commands: { who: () => ({ is: 1 }) } }`,
    `{
      name: 'second',
      hooks: { cmd_delete: () => true },
      commands: {
        who: () => ({ is: 'two é&=' }),
        sum({ domain, values, address }) {
          return { domain, address, sum: values.reduce((sum, value) => sum + Number(value), 0) }
        },
        nothing() {},
        crash() { throw new Error('secret') },
        bad: () => ({ '1x': 1 }),
      },
    }`,
  ])
  const rows: [asked: string, answer: string][] = [
    ['plugin_who', 'OK is=two+%C3%A9%26%3D'],
    ['PLUGIN_WHO callid=3', 'OK is=two+%C3%A9%26%3D&callid=3'],
    [
      'plugin_sum domain=test&argcount=2&arg1=20&arg2=22&arg3=9',
      'OK domain=test&address=127.0.0.1&sum=42',
    ],
    ['plugin_sum', 'OK domain=&address=127.0.0.1&sum=0'],
    ['plugin_sum argcount=1000000000&arg1=1', 'OK domain=&address=127.0.0.1&sum=1'],
    ['plugin_sum argcount=-1&arg1=1', 'OK domain=&address=127.0.0.1&sum=0'],
    ['plugin_nothing', 'OK '],
    ['plugin_crash', 'ERR failure Operation+failed'],
    ['plugin_bad', 'ERR failure Operation+failed'],
    ['plugin_', 'ERR unknown_command Unknown+server+command'],
    ['plugin_constructor', 'ERR unknown_command Unknown+server+command'],
    ['plugin_none callid=1', 'ERR unknown_command Unknown+server+command 1'],
    ['who', 'ERR unknown_command Unknown+server+command'],
    ['delete domain=test&key=none', 'ERR unknown_key unknown_key'],
  ]
  for (const [asked, answer] of rows) t.equal(await talk.ask(asked), answer, asked)
})
