/** A network that keeps one tracker from a storage node, while everybody else reaches it. */
import { existsSync } from 'node:fs'
import { readFile, readdir, readlink } from 'node:fs/promises'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createClient, type Client } from '../../client/index.ts'
import { missing } from '../helpers/missing.ts'
import { until } from '../helpers/until.ts'
import { startSystem, type Soaked } from './soak/system.ts'

const noProc = missing('/proc of Linux', () => existsSync('/proc/net/tcp'))

/** The process at the other end of a connection of this machine. */
async function isOf(pid: number, socket: Socket): Promise<boolean> {
  const port = (socket.remotePort ?? 0).toString(16).toUpperCase().padStart(4, '0')
  const table = await readFile('/proc/net/tcp', 'utf8')
  const row = table.split('\n').find(line => line.split(/\s+/)[2]?.endsWith(`:${port}`))
  const name = `socket:[${row?.trim().split(/\s+/)[9]}]`
  const directory = `/proc/${pid}/fd`
  const fds = await readdir(directory)
  const links = await Promise.all(fds.map(fd => readlink(`${directory}/${fd}`).catch(() => '')))
  return links.includes(name)
}

interface Wire {
  readonly port: number
  /** From now on nothing that process `pid` sends arrives; undefined: all does. */
  cutOff(pid: number | undefined): void
}

/** Stands before a node. */
async function startWire(t: Test, to: number): Promise<Wire> {
  const sockets = new Map<Socket, Promise<boolean>>()
  let cut: number | undefined
  const keep = (socket: Socket): void => {
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
  }
  const server = createServer(socket => {
    keep(socket)
    const arrives = cut === undefined ? Promise.resolve(true) : isOf(cut, socket).then(is => !is)
    sockets.set(socket, arrives)
    socket.once('close', () => sockets.delete(socket))
    socket.pause()
    void arrives.then(does => {
      // What does not arrive is not refused either: nobody answers.
      if (!does || socket.destroyed) return
      const node = connect(to, '127.0.0.1')
      keep(node)
      socket.pipe(node).pipe(socket)
      socket.once('close', () => node.destroy())
      node.once('close', () => socket.destroy())
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return {
    port: (server.address() as AddressInfo).port,
    cutOff(pid) {
      cut = pid
      for (const socket of sockets.keys()) socket.destroy()
    },
  }
}

const clientOf = (t: Test, { token }: Soaked, http: string | undefined): Client => {
  const client = createClient({ trackers: [`http://${http}`], token, domain: 'plain' })
  t.teardown(() => client.close())
  return client
}

t.test(
  'a node that one tracker cannot reach is away for that tracker only',
  { skip: noProc },
  async t => {
    const system = await startSystem(t, {
      trackers: 2,
      hosts: 3,
      devices: 1,
      settings: { lost_after: '1', trim_after: '1', delete_grace_seconds: '0' },
    })
    const { client, sql, trackers, nodes } = system
    const [, port = ''] = nodes[0]?.listening['http']?.split(':') ?? []
    const wire = await startWire(t, Number(port))
    await client.api.changeHost('node1', { port: wire.port })
    const clients = trackers.map(({ listening }) => clientOf(t, system, listening['http']))
    const seenBy = async ({ api }: Client): Promise<string | undefined> =>
      (await api.status()).hosts.find(({ name }) => name === 'node1')?.observed
    const reached = async (): Promise<boolean> =>
      (await Promise.all(clients.map(seenBy))).every(state => state === 'reachable')
    await until('both reach it where it is', reached)
    for (let i = 0; i < 12; i++) await client.put(`key/${i}`, `bytes of ${i}`, { class: 'two' })
    const rows = () => sql('select fid, devids from file where fid <= $1 order by fid', [last])
    await until(
      'nothing is left to do',
      async () => (await client.api.status()).queues.replicate.waiting === 0,
    )
    const [{ last } = { last: 0 }] = await sql<{ last: number }>(
      'select max(fid) as last from file',
    )
    const before = await rows()
    t.ok(JSON.stringify(before).includes('1'))
    const doomed = (i: number): string[] => [0, 1, 2, 3].map(n => `doomed/${i}/${n}`)
    for (const key of [...doomed(0), ...doomed(1)]) {
      await client.put(key, 'bytes', { class: 'three', durability: 'everywhere' })
    }

    const now = async (): Promise<string> =>
      (await sql<{ at: string }>('select now()::text as at'))[0]?.at ?? ''
    const lookedAfter = async (at: string, seconds: number): Promise<boolean> => {
      const [seen] = await sql<{ is: boolean }>(
        'select min(seen_at) > $1::timestamptz + make_interval(secs => $2) as is from observation',
        [at, seconds],
      )
      return seen?.is === true
    }

    for (const [i, tracker] of trackers.entries()) {
      const [own, other] = i === 0 ? [clients[0], clients[1]] : [clients[1], clients[0]]
      if (!own || !other) throw new Error('two trackers, two clients')
      wire.cutOff(tracker.pid())
      // One of the two looks for both: the other one believes it as long as it sees the node.
      const start = await now()
      await until(
        `${tracker.name} has lost sight of it, if it looks`,
        async () => (await seenBy(own)) !== 'reachable' || lookedAfter(start, 8),
      )
      const later = await now()
      let wasLost = false
      await until('that lasts several times as long as it takes to be lost', async () => {
        wasLost ||= (await other.api.status()).healing.lost.length > 0
        return lookedAfter(later, 4)
      })
      t.notOk(wasLost, 'it is not treated as lost')
      t.equal(await seenBy(other), 'reachable', 'the other one sees it')
      t.strictSame(await rows(), before, 'nothing was copied for it')
      for (const one of [own, other]) {
        await one.put(`new/${i}`, 'new', { class: 'two' })
        t.equal(await (await one.get(`new/${i}`)).text(), 'new')
        t.equal(await (await one.get('key/3')).text(), 'bytes of 3')
      }
      const fids: number[] = []
      for (const key of doomed(i)) {
        fids.push((await own.api.stat({ domain: 'plain', key })).fid)
        await own.delete(key)
      }
      await until('what is deleted has gone from there, too', async () => {
        const waiting = await sql('select from delete_job where fid = any($1)', [fids])
        return waiting.length === 0
      })
      wire.cutOff(undefined)
      await until('both reach it again', reached)
    }
    await until(
      'nothing is left to do',
      async () => (await client.api.status()).queues.replicate.waiting === 0,
    )
    t.strictSame(await rows(), before)
  },
)
