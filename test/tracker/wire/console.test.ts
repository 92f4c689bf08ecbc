import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import t from 'tap'
import type { ReadyMessage } from '../../../common/daemon.ts'
import { createConsole } from '../../../tracker/wire/console/console.ts'
import { Queries } from '../../../tracker/wire/console/queries.ts'
import { Watchers } from '../../../tracker/wire/console/watchers.ts'
import { createJobs } from '../../../tracker/workers/jobs.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'
import { put } from './files.ts'
import { openTalk } from './talk.ts'
import { jobOf, tell } from './tell.ts'

t.test('the console of a tracker', async t => {
  const cluster = await startCluster(t, { hosts: 2, open: true })
  const talk = await openTalk(t, cluster.wire)

  t.test('answers byte for byte as MogileFS does', async t => {
    const rows: [sent: string, answer: string[]][] = [
      ['!version', ['2.73', '.']],
      ['!versionx', ['2.73', '.']],
      ['!queue', ['.']],
      ['!pending', ['.']],
      ['!want 1 replicate', ["Now desiring 1 children doing 'replicate'.", '.']],
      ['!want 1 monitor junk', ["Now desiring 1 children doing 'monitor'.", '.']],
      ['!want 9 monitor', ["Now desiring 9 children doing 'monitor'.", '.']],
      ['!want 501 queryworker', ["Now desiring 500 children doing 'queryworker'.", '.']],
      ['!want 20 queryworker', ["Now desiring 20 children doing 'queryworker'.", '.']],
      ['!want', ['ERROR: usage: !want <count> <jobclass>', '.']],
      ['!want x replicate', ['ERROR: usage: !want <count> <jobclass>', '.']],
      ['!want -1 replicate', ['ERROR: usage: !want <count> <jobclass>', '.']],
      [
        '!want 1 nothing',
        [
          "ERROR: Invalid class 'nothing'.  Valid classes: delete, fsck, job_master, monitor, queryworker, reaper, replicate",
          '.',
        ],
      ],
      ['!to replicate :wake_up', ['Message sent to 1 children.', '.']],
      ['!to nothing :wake_up', ['Message sent to 0 children.', '.']],
      ['!to no-thing :wake_up', ['Message sent to 0 children.', '.']],
      ['!to replicate', ['ERROR: usage: !to <jobclass> <message>', '.']],
      ['!watch', ['Added you to watcher list.', '.']],
      ['!watch', ['Removed you from watcher list.', '.']],
    ]
    for (const [sent, answer] of rows) {
      t.strictSame(await talk.exchange(`${sent}\n`, answer.length), answer, sent)
    }
    t.equal(talk.unread(), '')
    t.equal((await jobOf(talk, 'monitor')).desired, 1, 'there is one monitor or none')
    t.equal(await talk.code('! version'), 'unknown_command', 'with a space it is no console line')
  })

  t.test('any other word gives the help', async t => {
    for (const word of ['!help', '!stat', '!statsx', '!repl', '!quit', '!VERSION']) {
      const socket = connect(Number(cluster.wire.split(':').at(-1)), '127.0.0.1').setEncoding(
        'latin1',
      )
      socket.end(`${word}\n`)
      let text = ''
      for await (const chunk of socket) text += String(chunk)
      t.match(text, /!want COUNT JOB/, word)
      t.ok(text.endsWith('\r\n.\r\n'), word)
      t.notMatch(text, /\n\.\r\n./)
    }
  })

  t.test('stats and recent tell of the queries, in the documented form', async t => {
    for (let n = 0; n < 60; n++) await talk.ask(`noop n=${n}`)
    await talk.ask('bogus key=\x1b[2J')
    const stats = await tell(talk, '!stats')
    t.match(stats[0], /^uptime \d+$/)
    t.strictSame(stats.slice(1, 4), [
      'pending_queries 0',
      'processing_queries 0',
      'bored_queryworkers 20',
    ])
    const counters = stats.slice(4)
    t.ok(counters.some(line => /^queries (?:[6-9]\d|\d{3,})$/.test(line)))
    t.notOk(
      counters.some(line => line.startsWith('times_out_of_qworkers')),
      'what has not occurred is not told',
    )
    t.strictSame(counters, [...counters].sort())

    const recent = await tell(talk, '!recent')
    t.equal(recent.length, 50)
    t.match(recent[0], /^127\.0\.0\.1 noop n=11 \d+\.\d{4} \d+\.\d{4}$/)
    t.match(recent[48], /^127\.0\.0\.1 noop n=59 /)
    t.match(recent[49], /^127\.0\.0\.1 bogus key=\\x1b\[2J \d+\.\d{4} \d+\.\d{4}$/)
    const long = 'x'.repeat(100_000)
    await talk.ask(`noop key=${long}`)
    t.ok((await tell(talk, '!recent')).at(-1)!.length < 5_000)
  })

  t.test('every job can be stopped and started again, and the counts follow', async t => {
    const lines = await tell(talk, '!jobs')
    for (const line of lines) t.match(line, /^\w+ (?:count|desired|pids) [\d ]*$/)
    const names = lines.filter(line => / count /.test(line)).map(line => line.split(' ')[0]!)
    t.strictSame(names, [
      'delete',
      'fsck',
      'job_master',
      'monitor',
      'queryworker',
      'reaper',
      'replicate',
    ])
    for (const name of names) {
      const before = await jobOf(talk, name)
      await tell(talk, `!want 0 ${name}`)
      await until(`nobody does ${name}`, async () => {
        const { count, desired, pids } = await jobOf(talk, name)
        return count === 0 && desired === 0 && pids === ''
      })
      await tell(talk, `!want 1 ${name}`)
      const wanted = Math.min(1, before.count)
      await until(`somebody does ${name}`, async () => {
        const { count, desired } = await jobOf(talk, name)
        return count === wanted && desired === 1
      })
      if (wanted === 1) t.equal((await jobOf(talk, name)).pids, String(process.pid))
    }
    await tell(talk, '!want 3 delete')
    await until('three do it', async () => (await jobOf(talk, 'delete')).count === 3)
    await tell(talk, '!want 1 delete')
    await until('one does it', async () => (await jobOf(talk, 'delete')).count === 1)
  })

  t.test('without a job master nobody replicates or deletes', async t => {
    await tell(talk, '!want 0 job_master')
    for (const name of ['delete', 'fsck', 'replicate']) {
      await until(`nobody does ${name}`, async () => (await jobOf(talk, name)).count === 0)
      t.equal((await jobOf(talk, name)).desired, 1)
    }
    t.equal((await jobOf(talk, 'monitor')).count, 1)
    await put(talk, 'unmastered', 'hello')
    t.equal((await cluster.replicas()).length, 1)

    await tell(talk, '!want 1 job_master')
    for (const name of ['delete', 'replicate']) {
      await until(`somebody does ${name}`, async () => (await jobOf(talk, name)).count === 1)
    }
    await cluster.settled()
    t.equal((await cluster.replicas()).length, 2)
    const stats = await tell(talk, '!stats')
    t.ok(stats.some(line => /^work_sent_to_replicate [1-9]/.test(line)))
    t.ok(stats.includes('work_queue_for_replicate 0'))
  })

  t.test('a job that is stopped does nothing', async t => {
    await tell(talk, '!want 0 replicate')
    await until('nobody does it', async () => (await jobOf(talk, 'replicate')).count === 0)
    const before = (await cluster.replicas()).length
    await put(talk, 'alone', 'hello')
    await tell(talk, '!to replicate :wake_up')
    t.equal((await cluster.api.status()).queues.replicate.waiting, 1)
    t.equal((await cluster.replicas()).length, before + 1)
    await tell(talk, '!want 1 replicate')
    await cluster.settled()
    t.equal((await cluster.replicas()).length, before + 2)
  })

  t.test('without query workers, queries wait and the console goes on', async t => {
    const asking = await openTalk(t, cluster.wire)
    const more = await openTalk(t, cluster.wire)
    await tell(talk, '!want 0 queryworker')
    await until('queries wait', async () => (await jobOf(talk, 'queryworker')).count === 0)
    const answers = asking.exchange('noop callid=1\r\nnoop callid=2\r\n', 2)
    await until('the first waits', async () => (await tell(talk, '!queue')).length === 1)
    const other = more.ask('bogus callid=3')
    await until('both wait', async () => (await tell(talk, '!queue')).length === 2)
    t.strictSame(await tell(talk, '!queue'), [
      '127.0.0.1 noop callid=1',
      '127.0.0.1 bogus callid=3',
    ])
    const stats = await tell(talk, '!stats')
    t.ok(stats.includes('pending_queries 2'))
    t.ok(stats.includes('bored_queryworkers 0'))
    t.ok(stats.includes('times_out_of_qworkers 2'))

    await tell(talk, '!want 1 queryworker')
    t.strictSame(await answers, ['OK callid=1', 'OK callid=2'])
    t.match(await other, /^ERR unknown_command \S+ 3$/)
    t.strictSame(await tell(talk, '!queue'), [])
    await tell(talk, '!want 20 queryworker')
  })

  t.test('one query worker works on one query at a time', async t => {
    const asking = await openTalk(t, cluster.wire)
    const more = await openTalk(t, cluster.wire)
    await tell(talk, '!want 1 queryworker')
    await until('there is one', async () => (await jobOf(talk, 'queryworker')).count === 1)
    const slept = asking.ask('sleep duration=1')
    await until('it sleeps', async () =>
      (await tell(talk, '!stats')).includes('processing_queries 1'),
    )
    const other = more.ask('noop callid=1')
    await until('the next waits', async () =>
      (await tell(talk, '!queue')).includes('127.0.0.1 noop callid=1'),
    )
    const stats = await tell(talk, '!stats')
    t.ok(stats.includes('pending_queries 1'))
    t.ok(stats.includes('bored_queryworkers 0'))
    t.equal(await Promise.race([slept, other]), 'OK ')
    t.equal(await other, 'OK callid=1')
    await tell(talk, '!want 20 queryworker')
  })

  t.test('who watches sees what happens', async t => {
    const watcher = await openTalk(t, cluster.wire)
    t.strictSame(await tell(watcher, '!watch'), ['Added you to watcher list.'])
    const seen: string[] = []
    const see = (wanted: RegExp): Promise<string> =>
      until(String(wanted), async () => {
        while (watcher.unread().includes('\n')) seen.push(...(await watcher.exchange('', 1)))
        return seen.find(line => wanted.test(line))
      })
    const pid = process.pid
    const started = (name: string): RegExp =>
      new RegExp(`^:: Job ${name} has only 0, wants 1, making 1\\.$`)
    for (const name of ['delete', 'job_master', 'replicate', 'monitor']) {
      seen.length = 0
      t.strictSame(await tell(talk, `!to ${name} :shutdown`), ['Message sent to 1 children.'])
      await see(new RegExp(`^:: Child ${pid} \\(${name}\\) died: 0 \\(UNEXPECTED\\)$`))
      await see(started(name))
      t.equal((await jobOf(talk, name)).count, 1)
    }
    seen.length = 0
    await tell(talk, '!want 0 delete')
    await see(new RegExp(`^:: Child ${pid} \\(delete\\) died: 0 \\(expected\\)$`))
    await tell(talk, '!want 1 delete')
    await see(started('delete'))

    await put(talk, 'watched', 'hello')
    const line = await see(/replicated/)
    t.match(
      line,
      new RegExp(
        `^:: \\[debug\\] \\[replicate\\(${pid}\\)\\] replicated fid=\\d+ devid=\\d size=5 `,
      ),
    )
    await watcher.exchange('!watch\r\n', 0)
    await until('it ended', () =>
      /Removed you from watcher list\.\r\n\.\r\n/.test(watcher.unread()),
    )
    const last = watcher.unread()
    await put(talk, 'unwatched', 'hello')
    await cluster.settled()
    t.equal(watcher.unread(), last)
  })
})

t.test('who is not on this machine may look and change nothing', async t => {
  let closed = false
  const log = pino({ level: 'silent' })
  const queries = new Queries()
  const jobs = createJobs({ log, jobMaster: true, onQueryWorkers() {} })
  t.teardown(() => jobs.close())
  const answer = createConsole({
    jobs,
    queries,
    watchers: new Watchers(),
    shutDown() {
      closed = true
    },
  })
  const from = (remoteAddress: string) => ({ remoteAddress, send() {}, onClose() {} })
  const before = jobs.list()
  for (const address of ['10.0.0.1', '203.0.113.9', '2001:db8::1', '127.0.0.1.example', '']) {
    for (const line of [
      '!shutdown',
      '!shutdownnow',
      '!want 0 queryworker',
      '!want',
      '!to queryworker :shutdown',
      '!to x',
    ]) {
      t.equal(answer(line, from(address)), 'ERROR: not allowed\r\n.\r\n', `${line} from ${address}`)
    }
    t.equal(answer('!version', from(address)), '2.73\r\n.\r\n')
  }
  t.strictSame(jobs.list(), before)
  t.equal(closed, false)
  for (const address of ['127.0.0.1', '127.9.9.9', '::1']) {
    closed = false
    t.equal(answer('!shutdown', from(address)), '.\r\n')
    t.equal(closed, true)
  }
})

t.test('what waits is bounded', async t => {
  const queries = new Queries()
  queries.workers = 0
  const line = 'x'.repeat(1024 * 1024)
  const turn = async (text: string): Promise<void> => queries.turn(text, '')
  const held = Array.from({ length: 32 }, () => turn(line))
  await t.rejects(turn('noop'), { code: 'overloaded' })
  t.equal(queries.waiting().length, 32)
  queries.workers = 2
  let begun = 0
  for (const turned of held) void turned.then(() => begun++)
  for (let ended = 0; ended <= 32; ended++) {
    await setImmediate()
    t.equal(begun, Math.min(ended + 2, 32), 'two at a time')
    if (begun > ended) queries.end('', '', 0, 0)
  }
  t.equal(queries.processing, 0)
  queries.workers = 0
  const last = turn('noop')
  queries.close()
  await t.rejects(last, { code: 'shutting_down' })
  await t.rejects(turn('noop'), { code: 'shutting_down' })
})

t.test('toggling does not add up', async t => {
  const watchers = new Watchers()
  let listeners = 0
  const sent: string[] = []
  const client = {
    remoteAddress: '127.0.0.1',
    send: (lines: string) => void sent.push(lines),
    onClose: () => void listeners++,
  }
  for (let n = 0; n < 101; n++) watchers.toggle(client)
  t.equal(listeners, 1)
  const log = watchers.tap(pino({ level: 'error' }, { write() {} }))
  log.child({ worker: 'fsck' }).warn({ devid: 3, err: new Error('two\nlines') }, 'odd é')
  log.child({ reqId: 'r' }).error('about one request')
  log.debug('not kept')
  const kept = watchers.tap(pino({ level: 'debug' }, { write() {} }))
  kept.child({ worker: 'monitor' }).debug('fine')
  t.strictSame(sent, [
    `:: [fsck(${process.pid})] odd \xc3\xa9 devid=3 err=two\\x0alines\r\n`,
    `:: [debug] [monitor(${process.pid})] fine\r\n`,
  ])
})

t.test('the last words on the console end the process, cleanly', async t => {
  const { url } = await testDatabase(t)
  const main = fileURLToPath(new URL('../../../tracker/main.js', import.meta.url))
  const child = fork(main, ['--no-job-master'], {
    env: {
      ...process.env,
      DATABASE_URL: url,
      OMG_TRACKER_HTTP_LISTEN: '127.0.0.1:0',
      OMG_TRACKER_WIRE_LISTEN: '127.0.0.1:0',
      OMG_TRACKER_WIRE_MAX_CONNECTIONS_PER_ADDRESS: '2',
      OMG_TRACKER_SECRET: 'test-cluster-secret-of-enough-bytes-0123456789',
      OMG_TRACKER_LOG_LEVEL: 'error',
    },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [message] = (await once(child, 'message')) as [ReadyMessage]
  const wire = message.listening['wire'] ?? ''
  const talk = await openTalk(t, wire)
  const { count, desired } = await jobOf(talk, 'replicate')
  t.strictSame({ count, desired }, { count: 0, desired: 1 }, 'no job master, no replication')
  t.equal((await jobOf(talk, 'monitor')).pids, String(child.pid))

  const held = await openTalk(t, wire)
  const third = connect(Number(wire.split(':').at(-1)), '127.0.0.1').on('error', () => {})
  t.teardown(() => third.destroy())
  third.write('noop\n')
  let heard = ''
  third.setEncoding('latin1').on('data', chunk => (heard += String(chunk)))
  await until('the third connection is closed', () => third.closed)
  t.equal(heard, '', 'the limit of connections is kept')
  await tell(talk, '!want 0 queryworker')
  const refused = held.code('create_domain domain=never')
  await until('it waits', async () => (await tell(talk, '!queue')).length === 1)
  const exit = once(child, 'exit')
  t.strictSame(await tell(talk, '!shutdown'), [])
  t.equal(await refused, 'shutting_down', 'what was held back is refused')
  t.strictSame(await exit, [0, null])
})
