import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { parseAddress } from '../../../common/config.ts'
import type { ReadyMessage } from '../../../common/daemon.ts'
import { fileKey } from '../../../tracker/store/files.ts'
import { startCluster, type Cluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql, type Sql } from '../database.ts'
import { put } from './files.ts'
import { openTalk, type Talk } from './talk.ts'

t.setTimeout(300_000)

/** The ceiling of a tracker at a thousand connections, whatever they do. They send up to 1 GB. */
const ceiling = 256 * 1024 * 1024

/** The memory that a tracker may hold, and the files below /proc that tell, are those of Linux. */
const skip = process.platform === 'linux' ? false : 'memory is measured through /proc'

/** A second tracker on the cluster's database, in a process of its own. */
async function forkTracker(t: Test, { databaseUrl, secret }: Cluster) {
  const main = fileURLToPath(new URL('../../../tracker/main.js', import.meta.url))
  const child = fork(main, ['--open', '--log-level', 'error'], {
    env: {
      DATABASE_URL: databaseUrl,
      OMG_TRACKER_SECRET: secret,
      OMG_TRACKER_HTTP_LISTEN: '127.0.0.1:0',
      OMG_TRACKER_WIRE_LISTEN: '127.0.0.1:0',
    },
  })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const dead = ended.then(() => Promise.reject(new Error('the tracker did not start')))
  const [{ listening }] = (await Promise.race([once(child, 'message'), dead])) as [ReadyMessage]
  dead.catch(() => {})
  const wire = listening['wire'] ?? ''
  return {
    wire,
    /** The most bytes that it has ever held. */
    async peak(): Promise<number> {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8')
      return Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)?.[1]) * 1024
    },
  }
}

/** A thousand keys of 255 bytes. */
async function fillWithLongKeys(sql: Sql): Promise<void> {
  const [domain] = await sql<{ id: number }>(`select id from domain where name = 'test'`)
  for (let n = 0; n < 1000; n++) {
    const key = Buffer.from(`long${n}-`.padEnd(255, '%'))
    const { slot, domainId } = fileKey(domain?.id ?? 0, key)
    await sql(
      `insert into file (fid, size, domain_id, class_id, slot, key, devids)
       values ($1, 1, $2, 0, $3, $4, '{1}')`,
      [1_000_000 + n, domainId, slot, key],
    )
  }
}

function attack(t: Test, wire: string): Socket {
  const socket = connect(parseAddress('wire', wire))
  // Being thrown out is what it deserves.
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

const crowd = async (t: Test, wire: string, count: number): Promise<Socket[]> => {
  const sockets = Array.from({ length: count }, () => attack(t, wire))
  await Promise.all(sockets.map(socket => once(socket, 'connect')))
  return sockets
}

/** Milliseconds that half of some lookups take at most. */
async function pace(talk: Talk): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 200; i++) {
    const startedAt = performance.now()
    const answer = await talk.ask('get_paths domain=test&key=there&noverify=1')
    if (!answer.startsWith('OK paths=')) throw new Error(answer)
    times.push(performance.now() - startedAt)
  }
  return times.sort((a, b) => a - b)[100] ?? 0
}

t.test(
  'whatever others do on the port, a client is served and memory bounded',
  { skip },
  async t => {
    const cluster = await startCluster(t, { hosts: 1, open: true })
    const seed = await openTalk(t, cluster.wire)
    await put(seed, 'there', 'hello')
    const line = (bytes: number): Buffer => Buffer.alloc(bytes, 'x')
    await fillWithLongKeys(await openSql(t, cluster.databaseUrl))

    const attacks: [what: string, run: (t: Test, wire: string) => Promise<unknown>][] = [
      ['1,000 connections that say nothing', (t, wire) => crowd(t, wire, 1000)],
      [
        '1,000 connections that stop before the end of a long line',
        async (t, wire) => {
          for (const socket of await crowd(t, wire, 1000)) socket.write(line(900 * 1024))
          await sleep(2_000)
        },
      ],
      [
        '100 lines of 10 MB',
        async (t, wire) => {
          for (const socket of await crowd(t, wire, 100)) socket.write(line(10 * 1024 * 1024))
        },
      ],
      [
        '1,000 connections that have a long request of many arguments worked on',
        async (t, wire) => {
          const names = Array.from({ length: 200_000 }, (_, n) => n.toString(36))
          const request = `sleep duration=20&${names.join('&')}\n`
          for (const socket of await crowd(t, wire, 1000)) socket.write(request)
          await sleep(2_000)
        },
      ],
      [
        '1,000 connections that send on while their request is worked on',
        async (t, wire) => {
          const behind = 'noop\n'.repeat(40_000)
          for (const socket of await crowd(t, wire, 1000))
            socket.write(`sleep duration=20\n${behind}`)
          await sleep(2_000)
        },
      ],
      [
        'random bytes from 50 connections',
        async (t, wire) => {
          for (const socket of await crowd(t, wire, 50)) {
            socket.resume()
            const pour = (): void => {
              if (!socket.destroyed)
                socket.write(randomBytes(16 * 1024), () => setTimeout(pour, 50))
            }
            pour()
          }
          await sleep(1_000)
        },
      ],
      [
        '200 connections that drip a byte at a time',
        async (t, wire) => {
          const sockets = await crowd(t, wire, 200)
          const timer = setInterval(() => {
            for (const socket of sockets) socket.write('n')
          }, 20)
          t.teardown(() => clearInterval(timer))
          await sleep(1_000)
        },
      ],
      [
        '100 connections that ask for much and read nothing',
        async (t, wire) => {
          const asked = `noop callid=${'x'.repeat(10_000)}\r\n`.repeat(600)
          for (const socket of await crowd(t, wire, 100)) {
            socket.pause()
            socket.write(asked)
          }
          await sleep(2_000)
        },
      ],
      [
        '200 connections that list a thousand long keys each',
        async (t, wire) => {
          const lists = (await crowd(t, wire, 200)).map(async socket => {
            let last = ''
            socket.setEncoding('latin1').on('data', (text: unknown) => {
              last = (text as string).slice(-2)
            })
            socket.write('list_keys domain=test&prefix=long&limit=1000\r\n')
            await until('it is answered or cut', () => last === '\r\n' || socket.destroyed)
          })
          await Promise.all(lists)
        },
      ],
    ]
    // One tracker suffers them all: the most that it has ever held is what counts.
    const tracker = await forkTracker(t, cluster)
    const talk = await openTalk(t, tracker.wire)
    await pace(talk)
    const usual = await pace(talk)
    for (const [what, run] of attacks) {
      await t.test(what, async t => {
        await run(t, tracker.wire)
        const paced = await pace(talk)
        const peak = await tracker.peak()
        t.comment(
          `${usual.toFixed(2)} ms, under attack ${paced.toFixed(2)} ms; ${(peak / 1048576).toFixed(0)} MiB`,
        )
        t.ok(paced < 20 * usual + 20, `${usual} ms became ${paced} ms`)
        t.ok(peak < ceiling, `${peak} bytes`)
      })
    }
  },
)
