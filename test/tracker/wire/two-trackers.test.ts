import t from 'tap'
import { fidPath } from '../../../common/layout.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { closeLine, open, put, write } from './files.ts'
import { lineOf, openTalk, pairsOf } from './talk.ts'

/** Milliseconds within which one tracker sees what was changed through another. */
const catchUpMs = 10_000

t.test('two trackers on one database', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    trackers: 2,
    open: true,
    classes: { single: 1 },
    settings: { delete_grace_seconds: '0' },
  })
  const sql = await openSql(t, cluster.databaseUrl)
  const [one, other] = (await Promise.all(
    cluster.trackers.map(tracker => openTalk(t, tracker.listening()['wire'] ?? '')),
  )) as [Awaited<ReturnType<typeof openTalk>>, Awaited<ReturnType<typeof openTalk>>]

  t.test('a change through one is seen there at once, and soon through the other', async t => {
    const rounds: [change: string, question: string, answer: RegExp][][] = [
      [
        ['create_domain domain=d', 'get_domains', /=d&domain\d+classes=1/],
        ['create_class domain=test&class=c&mindevcount=3', 'get_domains', /=c&\w+mindevcount=3&/],
        ['create_host host=h&ip=127.0.0.9&port=7500', 'get_hosts', /_hostname=h&/],
        ['create_device devid=9&hostname=h&state=down', 'get_devices devid=9', /_status=down&/],
        [
          'set_state host=node1&device=1&state=readonly',
          'get_devices devid=1',
          /_status=readonly&.*_observed_state=readable&/,
        ],
        ['set_server_setting key=memcache_ttl&value=5', 'server_setting key=memcache_ttl', /=5$/],
      ],
      [
        ['update_class domain=test&class=c&mindevcount=4', 'get_domains', /=c&\w+mindevcount=4&/],
        ['update_host host=h&altip=127.0.0.8', 'get_hosts', /_altip=127\.0\.0\.8&/],
        ['set_weight host=h&device=9&weight=7', 'get_devices devid=9', /_weight=7&/],
        [
          'set_state host=node1&device=1&state=alive',
          'get_devices devid=1',
          /_status=alive&.*_observed_state=writeable&/,
        ],
      ],
      [
        [
          'delete_class domain=test&class=c',
          'create_open domain=test&class=c&key=k',
          /^ERR unreg_class /,
        ],
        ['delete_domain domain=d', 'list_keys domain=d', /^ERR unreg_domain /],
      ],
    ]
    for (const rows of rounds) {
      for (const [change, question, answer] of rows) {
        t.match(await one.ask(change), /^OK /, change)
        t.match(await one.ask(question), answer, `${change}: at once`)
      }
      for (const [change, question, answer] of rows) {
        const seen = async (): Promise<boolean> => answer.test(await other.ask(question))
        await until(`${change} is seen`, seen, catchUpMs)
      }
    }
  })

  t.test('what has just been made through one can be used through the other', async t => {
    for (let i = 0; i < 5; i++) {
      await one.ask(`create_domain domain=new${i}`)
      t.equal(await other.code(`list_keys domain=new${i}`), 'none_match')
      await one.ask(`create_class domain=new${i}&class=c&mindevcount=1`)
      t.match(await other.ask(`create_open domain=new${i}&class=c&key=k`), /^OK fid=/)
    }
  })

  t.test('an upload to where only one can know of is closed through the other', async t => {
    const mask = '127.0.0.0/8'
    const changes = [
      `host=node1&altip=127.0.0.2&altmask=${mask}`,
      `host=node2&altip=127.0.0.3&altmask=${mask}`,
      'host=node1&altip=&altmask=',
      'host=node2&altip=&altmask=',
    ]
    for (const change of changes) {
      t.match(await one.ask(`update_host ${change}`), /^OK /)
      const opened = await open(one, 'once', { class: 'single' })
      await write(opened.targets[0]!.path.replace(/127\.0\.0\.\d/, '127.0.0.1'), 'hello')
      t.equal(await other.ask(closeLine(opened, 'once')), 'OK ')
    }
  })

  t.test('files are seen at once by both', async t => {
    const { fid } = await put(one, 'seen', 'hello', { class: 'single' })
    t.match(await other.ask('file_info domain=test&key=seen'), new RegExp(`^OK fid=${fid}&`))
    t.equal(await other.ask('rename domain=test&from_key=seen&to_key=moved'), 'OK ')
    t.equal(await one.code('get_paths domain=test&key=seen'), 'unknown_key')
    t.equal(await one.ask('delete domain=test&key=moved'), 'OK ')
    t.equal(await other.code('file_info domain=test&key=moved'), 'unknown_key')
  })

  t.test('an upload opened through one is closed through the other, once', async t => {
    for (let i = 0; i < 10; i++) {
      const opened = await open(one, 'once', { class: 'single' })
      await write(opened.targets[0]!.path, 'hello')
      const codes = await Promise.all(
        [one, other].map(talk => talk.code(closeLine(opened, 'once'))),
      )
      t.strictSame(codes.sort(), ['OK ', 'no_temp_file'])
      const info = pairsOf(await one.ask('file_info domain=test&key=once'))
      t.equal(info.get('fid'), String(opened.fid))
    }
  })

  t.test(
    'closes, renames and deletes on few keys at once lose no file and leave no orphan',
    async t => {
      const keys = ['x', 'y', 'z']
      const legal = /^(?:OK |unknown_key|key_exists)$/
      const worker = async (n: number): Promise<void> => {
        const talk = await openTalk(t, cluster.trackers[n % 2]?.listening()['wire'] ?? '')
        for (let i = 0; i < 25; i++) {
          const key = keys[(n + i) % 3] ?? ''
          const opened = await open(talk, key, { class: 'single' })
          await write(opened.targets[0]!.path, `${n} ${i}`)
          const to = keys[(n + 2 * i + 1) % 3] ?? ''
          // All three are under way together: the answers must still be one each.
          const lines = [
            closeLine(opened, key),
            lineOf('rename', { domain: 'test', from_key: key, to_key: to }),
            ...(i % 3 === 0 ? [lineOf('delete', { domain: 'test', key: to })] : []),
          ]
          const answers = await talk.exchange(
            lines.map(line => `${line}\r\n`).join(''),
            lines.length,
          )
          for (const [at, answer] of answers.entries()) {
            const code = answer.startsWith('ERR ') ? (answer.split(' ')[1] ?? '') : answer
            if (!legal.test(code) || (at === 0 && code !== 'OK ')) t.fail(`${lines[at]}: ${answer}`)
          }
          if (talk.unread() !== '') t.fail(`${talk.unread()} was not asked for`)
        }
      }
      await Promise.all(Array.from({ length: 8 }, (_, n) => worker(n)))
      await cluster.settled()
      const live = await sql<{ key: string; fid: number; devids: number[] }>(
        `select convert_from(key, 'UTF8') as key, fid, devids from file
       where key = any($1) order by fid`,
        [[...keys, 'once'].map(key => Buffer.from(key))],
      )
      t.equal(new Set(live.map(({ key }) => key)).size, live.length, 'one row for each key')
      t.equal(new Set(live.map(({ fid }) => fid)).size, live.length, 'one key for each content')
      const expected = live.flatMap(({ fid, devids }) => devids.map(d => `dev${d}/${fidPath(fid)}`))
      await until('every other content is gone', async () => {
        const found = await cluster.replicas()
        return found.length === expected.length
      })
      t.strictSame(await cluster.replicas(), expected.sort())
      for (const { key } of live) {
        const path = pairsOf(await one.ask(lineOf('get_paths', { domain: 'test', key }))).get(
          'path1',
        )
        t.match(await (await fetch(path ?? '')).text(), /^(?:\d \d+|hello)$/)
      }
    },
  )
})
