import { createHash } from 'node:crypto'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { hostKeys, hostSecret, signReceipt } from '../../../common/signing.ts'
import type { Committed, FileInfo } from '../../../common/protocol/files.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { contents, openSql } from '../database.ts'
import { replicasOf } from '../replicas.ts'
import { commit, createCall, openUpload, putFile, writeCopy, type Copy } from './calls.ts'

const sha256 = (bytes: string): string => createHash('sha256').update(bytes).digest('hex')

t.test('a commit believes what nodes have signed, and nothing else', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    devices: 2,
    classes: { all: 4 },
    settings: { delete_grace_seconds: '0' },
  })
  const call = createCall(cluster.http, cluster.token)
  const sql = await openSql(t, cluster.databaseUrl)
  const hostOf = (devid: number): string =>
    cluster.nodes.find(({ devids }) => devids.includes(devid))?.name ?? ''
  const open = (key: string, fields: Record<string, unknown> = {}) =>
    openUpload(call, { key, ...fields })

  t.test('targets are on distinct hosts first', async t => {
    const { targets, copies } = await open('targets')
    t.equal(copies, 2)
    t.equal(targets.length, 4)
    t.not(targets[0]?.host, targets[1]?.host)
  })

  t.test('a refused commit leaves the upload open, and the right one then works', async t => {
    const opened = await open('refused')
    const [one, two] = await Promise.all(
      opened.targets.slice(0, 2).map(target => writeCopy(target, 'hello')),
    )
    if (!one || !two) throw new Error('no copies')
    const fake = { fid: opened.fid, devid: one.devid, size: 5, sha256: sha256('hello') }
    const keysOf = (host: string, secret = cluster.secret) => hostKeys(hostSecret(secret, host))
    const own = keysOf(hostOf(one.devid))
    const other = await open('other')
    const foreign = await writeCopy(other.targets[0]!, 'hello')
    const flipped = one.receipt.slice(0, -1) + (one.receipt.endsWith('A') ? 'B' : 'A')
    const stranger = 'another-cluster-secret-of-enough-bytes-0123456789'

    const refusals: [what: string, copies: Copy[], code: string, more?: object][] = [
      ['a flipped bit', [{ ...one, receipt: flipped }, two], '403 bad_receipt'],
      ['no receipt at all', [{ ...one, receipt: 'x' }, two], '403 bad_receipt'],
      [
        'one of another size',
        [{ ...one, receipt: one.receipt.replace('.5.', '.6.') }, two],
        '403 bad_receipt',
      ],
      [
        'one of another fid',
        [{ devid: one.devid, receipt: foreign.receipt }, two],
        '403 bad_receipt',
      ],
      [
        'one of another device',
        [{ devid: one.devid, receipt: two.receipt }, two],
        '403 bad_receipt',
      ],
      [
        'a device not offered',
        [{ devid: 4711, receipt: signReceipt(own, { ...fake, devid: 4711 }) }, two],
        '403 bad_receipt',
      ],
      [
        "one by the other host's key",
        [{ ...one, receipt: signReceipt(keysOf(hostOf(two.devid)), fake) }, two],
        '403 bad_receipt',
      ],
      [
        'one of another cluster',
        [{ ...one, receipt: signReceipt(keysOf(hostOf(one.devid), stranger), fake) }, two],
        '403 bad_receipt',
      ],
      ['one copy for two', [one], '409 not_enough_copies'],
      ['the same receipt twice', [one, one], '409 not_enough_copies'],
      ['another size than sent', [one, two], '400 size_mismatch', { size: 6 }],
      [
        'another SHA-256 than sent',
        [one, two],
        '400 checksum_mismatch',
        { sha256: sha256('hallo') },
      ],
    ]
    const before = await contents(sql)
    for (const [what, copies, expected, more] of refusals) {
      const answer = await commit(call, opened.upload, { copies, ...more })
      t.equal(`${answer.status} ${answer.code}`, expected, what)
      t.strictSame(await contents(sql), before, what)
    }
    const good = await commit(call, opened.upload, {
      copies: [one, two],
      size: 5,
      sha256: sha256('hello'),
    })
    t.match([good.status, good.json()], [200, { key: 'refused', size: 5, copies: 2 }])
    t.notOk('reduced' in good.json())
  })

  t.test('copies of different bytes are no copies', async t => {
    const opened = await open('different')
    const [one, two, three] = opened.targets
    const copies = [await writeCopy(one!, 'hello'), await writeCopy(two!, 'hallo')]
    t.equal((await commit(call, opened.upload, { copies })).code, 'checksum_mismatch')
    copies[1] = await writeCopy(three!, 'hello!')
    t.equal((await commit(call, opened.upload, { copies })).code, 'size_mismatch')
  })

  t.test('an announced size is held to', async t => {
    const opened = await open('announced', { size: 5, durability: 'fast' })
    const [one, two] = opened.targets
    const wrong = { copies: [await writeCopy(one!, 'hello!')], size: 6 }
    t.equal((await commit(call, opened.upload, wrong)).code, 'size_mismatch')
    const right = await commit(call, opened.upload, { copies: [await writeCopy(two!, 'hello')] })
    t.match(right.json(), { size: 5, sha256: sha256('hello') })
  })

  t.test('two devices of one host are not enough for safe', async t => {
    const opened = await open('one-host')
    const first = opened.targets[0]!
    const neighbours = opened.targets.filter(({ host }) => host === first.host)
    const copies = await Promise.all(neighbours.map(target => writeCopy(target, 'hello')))
    t.equal(copies.length, 2)
    t.equal((await commit(call, opened.upload, { copies })).code, 'not_enough_copies')
  })

  t.test('the tracker makes the copies that are lacking when it is asked to', async t => {
    const opened = await open('make', { class: 'all', durability: 'everywhere' })
    const copies = [await writeCopy(opened.targets[0]!, 'hello')]
    t.equal((await commit(call, opened.upload, { copies })).code, 'not_enough_copies')
    const answer = await commit(call, opened.upload, { copies, makeCopies: true })
    t.match(answer.json(), { copies: 4, devids: { length: 4 } })
    t.equal((await replicasOf(cluster, opened.fid)).length, 4)
  })

  t.test('a copy without a receipt is asked for at its node', async t => {
    const opened = await open('no-receipt')
    const [one, two] = opened.targets
    await writeCopy(one!, 'hello')
    const copies = [{ devid: one!.devid }, { devid: two!.devid }]
    t.equal((await commit(call, opened.upload, { copies })).code, 'size_verify_error')
    const mixed = [copies[0]!, await writeCopy(two!, 'hello')]
    const answer = await commit(call, opened.upload, { copies: mixed })
    t.match(answer.json(), { size: 5, sha256: sha256('hello'), copies: 2 })
  })

  t.test('a commit that is repeated answers the same, whatever became of the key', async t => {
    const opened = await open('repeat', { contentType: 'text/plain', metadata: { a: 'b' } })
    const copies = await Promise.all(opened.targets.slice(0, 2).map(at => writeCopy(at, 'hello')))
    const first = await commit(call, opened.upload, { copies })
    t.equal(first.status, 200)
    const again = async (when: string): Promise<void> => {
      const answer = await commit(call, opened.upload, { copies })
      t.strictSame([answer.status, answer.json()], [200, first.json()], when)
    }
    await again('at once')
    const newer = await putFile(call, { key: 'repeat' }, 'newer')
    await again('after it was overwritten')
    t.equal((await call('GET', '/v1/domains/test/files/repeat')).json<FileInfo>().fid, newer.fid)
    await call('DELETE', '/v1/domains/test/files/repeat')
    await again('after it was deleted')
    t.equal((await call('GET', '/v1/domains/test/files/repeat')).code, 'unknown_key')
  })

  t.test('of commits at the same time one counts, and all answer it', async t => {
    const opened = await open('together')
    const copies = await Promise.all(opened.targets.slice(0, 2).map(at => writeCopy(at, 'hello')))
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => commit(call, opened.upload, { copies })),
    )
    t.strictSame(new Set(answers.map(({ status }) => status)), new Set([200]))
    t.equal(new Set(answers.map(({ text }) => text)).size, 1)
    const rows = await sql(`select from audit where action = 'put' and fid = $1`, [opened.fid])
    t.equal(rows.length, 1)
  })

  t.test('an upload stays open for an hour, and a second longer for each MiB', async t => {
    const hourly = await open('small', { size: 5 })
    const long = await open('large', { size: 10 * 1024 ** 3 })
    const secondsLonger = (Date.parse(long.expiresAt) - Date.parse(hourly.expiresAt)) / 1000
    t.ok(Math.abs(secondsLonger - 10 * 1024) < 600, `${secondsLonger} seconds`)
    // The URL to PUT to is good for as long.
    const [, expires] = /\?(\d+)/.exec(long.targets[0]!.url) ?? []
    const endsAt = Number(expires) * 1000
    t.ok(
      Math.abs(endsAt - Date.parse(long.expiresAt)) < 600_000,
      `until ${new Date(endsAt).toISOString()}`,
    )
  })

  t.test('an upload that has run out cannot be committed, and its bytes go', async t => {
    const opened = await open('expired', { durability: 'fast' })
    const copies = [await writeCopy(opened.targets[0]!, 'hello')]
    await sql(`update upload set expires_at = now() - interval '1 second' where fid = $1`, [
      opened.fid,
    ])
    t.equal((await commit(call, opened.upload, { copies })).code, 'no_upload')
    t.equal((await call('GET', '/v1/domains/test/files/expired')).code, 'unknown_key')
    await until('the upload is given up', async () => {
      // They are due when the last URL to PUT to has run out as well.
      const due = `update delete_job set next_try = now() where fid = $1 returning fid`
      return (await sql(due, [opened.fid])).length > 0
    })
    await until(
      'its bytes are gone',
      async () => (await replicasOf(cluster, opened.fid)).length === 0,
    )
    t.strictSame(await sql('select from upload where fid = $1', [opened.fid]), [])
  })

  t.test('an upload that nobody knows, or of another domain, is none', async t => {
    await cluster.api.createDomain('elsewhere')
    const opened = await open('elsewhere', { durability: 'fast' })
    const copies = [await writeCopy(opened.targets[0]!, 'hello')]
    t.equal((await commit(call, '999999999.1', { copies })).code, 'no_upload')
    const [fid, slot] = opened.upload.split('.')
    t.equal(
      (await commit(call, `${fid}.${(Number(slot) + 1) % 4096}`, { copies })).code,
      'no_upload',
    )
    const path = `/v1/domains/elsewhere/uploads/${opened.upload}`
    t.equal((await call('POST', `${path}/commit`, { json: { copies } })).code, 'no_upload')
    t.equal((await call('DELETE', path)).code, 'no_upload')
    t.equal((await commit(call, opened.upload, { copies })).status, 200)
    t.equal((await call('DELETE', `/v1/domains/test/uploads/${opened.upload}`)).code, 'no_upload')
  })

  t.test('what was written for an upload that is given up vanishes', async t => {
    const opened = await open('abandoned')
    await Promise.all(opened.targets.map(target => writeCopy(target, 'hello')))
    const left = async (): Promise<number> => (await replicasOf(cluster, opened.fid)).length
    t.equal(await left(), 4)
    t.equal((await call('DELETE', `/v1/domains/test/uploads/${opened.upload}`)).status, 204)
    await until('the bytes are gone', async () => (await left()) === 0)
    t.equal((await commit(call, opened.upload, { copies: [{ devid: 1 }] })).code, 'no_upload')
  })

  t.test('an overwrite serves the new bytes at once, and the old ones vanish', async t => {
    const old = await putFile(call, { key: 'over' }, 'old')
    const fresh = await putFile(call, { key: 'over' }, 'new bytes')
    t.equal((await call('GET', '/v1/domains/test/files/over')).json<Committed>().size, 9)
    t.not(old.fid, fresh.fid)
    await until(
      'the old bytes are gone',
      async () => (await replicasOf(cluster, old.fid)).length === 0,
    )
    t.equal(await (await cluster.client.get('over')).text(), 'new bytes')
  })
})

t.test('in a cluster of one host safe is as much as there is, and says so', async t => {
  const cluster = await startCluster(t, { hosts: 1 })
  const call = createCall(cluster.http, cluster.token)
  const opened = await openUpload(call, { key: 'alone' })
  t.equal(opened.copies, 1)
  const copies = [await writeCopy(opened.targets[0]!, 'hello')]
  const answer = await commit(call, opened.upload, { copies })
  t.match(answer.json(), { copies: 1, reduced: /1 device on 1 host/ })
})

t.test('a commit takes a copy on a device that only another tracker has heard of', async t => {
  const cluster = await startCluster(t, { hosts: 1, trackers: 2 })
  const [here, there] = cluster.trackers.map(tracker =>
    createCall(`http://${tracker.listening()['http']}`, cluster.token),
  )
  const sql = await openSql(t, cluster.databaseUrl)
  const devid = 4711
  const { upload, fid } = await openUpload(here!, { key: 'new device', durability: 'fast' })
  await sql(`update upload set devids = '{${devid}}'`)
  const keys = hostKeys(hostSecret(cluster.secret, 'node1'))
  const receipt = signReceipt(keys, { fid, devid, size: 5, sha256: sha256('hello') })
  const added = await here!('POST', '/v1/devices', { json: { devid, host: 'node1' } })
  t.equal(added.status, 201)
  const answer = await commit(there!, upload, { copies: [{ devid, receipt }] })
  t.match(answer.json(), { devids: [devid] })
})

t.test(
  'a commit that fails leaves the copies alone that another one of the upload has made',
  async t => {
    const cluster = await startCluster(t, { hosts: 2 })
    const call = createCall(cluster.http, cluster.token)
    const behind = cluster.nodes[1]!
    // The first to have a copy made there hears that it failed, long after it was made.
    let answerFirst = (): void => {}
    const held = new Promise<void>(resolve => {
      answerFirst = resolve
    })
    let copies = 0
    const port = await startProxy(t, behind.service.listening()['http'] ?? '', async path => {
      if (!path.includes('/copies') || ++copies > 1) return undefined
      await held
      return 503
    })
    await cluster.api.changeHost(behind.name, { port })
    const opened = await openUpload(call, { key: 'twice', durability: 'safe' })
    const one = opened.targets.find(({ host }) => host === 'node1')
    const asked = { copies: [await writeCopy(one!, 'hello')], makeCopies: true }
    const late = commit(call, opened.upload, asked)
    await until('its copy was made', async () => copies > 0)
    const answer = await commit(call, opened.upload, asked)
    t.match(answer.json(), { copies: 2 })
    answerFirst()
    t.equal((await late).code, 'not_enough_copies')
    t.equal((await replicasOf(cluster, opened.fid)).length, 2)
  },
)

/** A proxy before a server; a status that `disturb` names goes out in place of the answer, behind it. */
async function startProxy(
  t: Test,
  origin: string,
  disturb: (path: string) => Promise<number | undefined>,
): Promise<number> {
  const [host, port] = origin.split(':')
  const server = createServer((incoming, reply) => {
    const { method, url = '', headers } = incoming
    const outgoing = request({ host, port, method, path: url, headers }, answer => {
      void disturb(url).then(status => {
        reply.writeHead(status ?? answer.statusCode ?? 500, status ? {} : answer.headers)
        answer.pipe(reply)
      })
    })
    outgoing.on('error', () => reply.destroy())
    incoming.pipe(outgoing)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}
