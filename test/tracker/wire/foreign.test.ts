import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { directory } from '../../helpers/directory.ts'
import { freePort, perlbal, startPerlbalNode } from '../../helpers/edges.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'
import { closeLine, open, put, write } from './files.ts'
import { startForeignNode, type ForeignNode } from './foreign.ts'
import { openTalk, pairsOf, type Talk } from './talk.ts'

/** A value that `get_devices` tells of a device. */
async function told(talk: Talk, devid: number, what: string): Promise<string | undefined> {
  const pairs = pairsOf(await talk.ask(`get_devices devid=${devid}`))
  return pairs.get(`dev1_${what}`)
}

/** Registers it as the host `foreign` with one device. */
async function register(
  talk: Talk,
  { port }: Pick<ForeignNode, 'port'>,
  devid: number,
): Promise<void> {
  await talk.ask(`create_host host=foreign${devid}&ip=127.0.0.1&port=${port}&status=alive`)
  await talk.ask(`create_device hostname=foreign${devid}&devid=${devid}`)
}

const lines = ({ requests }: ForeignNode): string[] => requests.map(({ line }) => line)

t.test('nodes that are not ours', async t => {
  const cluster = await startCluster(t, {
    hosts: 1,
    trackers: 2,
    open: true,
    classes: { one: 1 },
    settings: { delete_grace_seconds: '0' },
  })
  const talk = await openTalk(t, cluster.wire)

  t.test(
    'reject_bad_md5 is 1 for a node that looks at Content-MD5, 0 for one that does not',
    async t => {
      const node = await startForeignNode(t)
      await register(talk, node, 21)
      t.equal(await told(talk, 1, 'reject_bad_md5'), '1', 'ours looks')
      t.equal(await told(talk, 21, 'observed_state'), 'writeable')
      t.equal(await told(talk, 21, 'reject_bad_md5'), '0')
      const asked = node.requests.filter(({ line }) => line === 'PUT /dev21/test-write/test-md5')
      t.strictSame(asked[0], {
        line: 'PUT /dev21/test-write/test-md5',
        md5: createHash('md5').update('!').digest('base64'),
        body: '.',
      })
      const other = await openTalk(t, cluster.trackers[1]?.listening()['wire'] ?? '')
      await until('the other tracker knows it too', async () => {
        await other.ask('clear_cache')
        const both = [
          await told(other, 1, 'reject_bad_md5'),
          await told(other, 21, 'reject_bad_md5'),
        ]
        return both.join() === '1,0'
      })
      await remove(talk, 21)
    },
  )

  t.test('reject_bad_md5 is empty for a device that was not written to', async t => {
    const node = await startForeignNode(t)
    await talk.ask(`create_host host=foreign22&ip=127.0.0.1&port=${node.port}&status=alive`)
    await talk.ask('create_device hostname=foreign22&devid=22&state=readonly')
    t.equal(await told(talk, 22, 'observed_state'), 'readable')
    t.equal(await told(talk, 22, 'reject_bad_md5'), '')
    t.notOk(lines(node).some(line => line.startsWith('PUT')))
    await remove(talk, 22)
  })

  t.test('what was seen of a device stays while its usage tells no sizes', async t => {
    const node = await startForeignNode(t)
    const good = node.usage
    node.usage = ''
    await register(talk, node, 23)
    t.equal(await told(talk, 23, 'observed_state'), '', 'nothing was seen yet')
    node.usage = good
    await talk.ask('do_monitor_round')
    t.equal(await told(talk, 23, 'observed_state'), 'writeable')
    for (const usage of ['', 'total: 1000000\nused: 0\n', 'total: 0\nused: 10\n']) {
      node.usage = usage
      await talk.ask('do_monitor_round')
      t.equal(await told(talk, 23, 'observed_state'), 'writeable', JSON.stringify(usage))
    }
    t.equal(await told(talk, 23, 'mb_free'), '976')
    await remove(talk, 23)
  })

  t.test('a node that makes no directories is asked for them before a PUT', async t => {
    const node = await startForeignNode(t)
    node.needsDirectories = true
    await alone(t, talk, node, 24)
    const { fid } = await put(talk, 'first', 'hello', { class: 'one' })
    const digits = String(fid).padStart(10, '0')
    const [b, mmm, ttt] = [digits.slice(0, 1), digits.slice(1, 4), digits.slice(4, 7)]
    const wanted = [`${b}/`, `${b}/${mmm}/`, `${b}/${mmm}/${ttt}/`].map(
      name => `MKCOL /dev24/${name}`,
    )
    t.strictSame(
      lines(node).filter(line => line.startsWith('MKCOL')),
      ['MKCOL /dev24/test-write', ...wanted],
    )
    await put(talk, 'second', 'hello', { class: 'one' })
    const all = lines(node).filter(line => wanted.includes(line))
    t.strictSame(all, wanted, 'what it has made, it is not asked for again')
  })

  t.test('it is asked for them before a replication, too', async t => {
    const node = await startForeignNode(t)
    await put(talk, 'copied', 'hello', { class: 'one' })
    node.needsDirectories = true
    await register(talk, node, 26)
    t.teardown(() => remove(talk, 26))
    await talk.ask('updateclass domain=test&key=copied&class=default')
    await until('it has a second copy', async () =>
      (await talk.ask('file_info domain=test&key=copied')).endsWith('&devcount=2'),
    )
    t.ok(lines(node).some(line => /^PUT \/dev26\/0\/.*\.fid$/.test(line)))
  })

  for (const status of [400, 501]) {
    t.test(`a node that answers ${status} to MKCOL is not asked again`, async t => {
      const node = await startForeignNode(t)
      node.mkcol = status
      await alone(t, talk, node, status)
      await open(talk, 'k', { class: 'one' })
      t.equal(lines(node).filter(line => line.startsWith('MKCOL')).length, 1)
    })
  }

  t.test('a close waits two seconds for the length of the file', async t => {
    const node = await startForeignNode(t)
    await alone(t, talk, node, 27)
    const opened = await open(talk, 'slow', { class: 'one' })
    await write(opened.targets[0]!.path, 'hello')
    node.silentTo = 'HEAD'
    const startedAt = performance.now()
    const answer = await talk.ask(closeLine(opened, 'slow', { size: 5 }))
    const took = performance.now() - startedAt
    t.match(answer, /^ERR size_verify_error Expected:\+5%3B\+actual:\+0\+%28cantreach%29%3B\+path:/)
    t.ok(took > 1_900 && took < 4_500, `${took} ms`)
    t.equal(await talk.code(closeLine(opened, 'slow')), 'no_temp_file')
  })

  t.test('other answers to MKCOL do not matter, and skip_mkcol spares them', async t => {
    const node = await startForeignNode(t)
    node.mkcol = 405
    await alone(t, talk, node, 25)
    const count = (): number => lines(node).filter(line => line.startsWith('MKCOL')).length
    await put(talk, 'third', 'hello', { class: 'one' })
    t.equal(count(), 4)
    await put(talk, 'third', 'hello', { class: 'one' })
    t.equal(count(), 7, 'it is asked again')
    await talk.ask('set_server_setting key=skip_mkcol&value=1')
    await put(talk, 'third', 'hello', { class: 'one' })
    t.equal(count(), 7)
    await talk.ask('set_server_setting key=skip_mkcol')
  })

  t.test(
    'one that MogileFS set up is used as it is',
    { skip: !perlbal && 'no Perlbal' },
    async t => {
      const dir = await directory(t)
      const root = join(dir, 'root')
      await mkdir(join(root, 'dev28'), { recursive: true })
      await writeFile(join(root, 'dev28/usage'), 'total: 1000000\nused: 10\n')
      const port = await freePort()
      await startPerlbalNode({ dir, port, atEnd: close => t.teardown(close) }, root)
      await alone(t, talk, { port }, 28)
      t.equal(await told(talk, 28, 'observed_state'), 'writeable')
      const stored = async (): Promise<string[]> =>
        (await readdir(root, { recursive: true })).filter(name => name.endsWith('.fid'))
      const copied = (key: string): Promise<boolean> =>
        until(`${key} has two copies`, async () =>
          (await talk.ask(`file_info domain=test&key=${key}`)).endsWith('&devcount=2'),
        )

      await put(talk, 'to ours', 'hello', { class: 'one' })
      await talk.ask('set_state host=node1&device=1&state=alive')
      await talk.ask('updateclass domain=test&key=to+ours&class=default')
      await copied('to+ours')

      await talk.ask('set_state host=foreign28&device=28&state=readonly')
      const { fid } = await put(talk, 'from ours', 'hello', { class: 'one' })
      await talk.ask('set_state host=foreign28&device=28&state=alive')
      await talk.ask('updateclass domain=test&key=from+ours&class=default')
      await copied('from+ours')
      const copy = (await stored()).find(name => name.endsWith(`${fid}.fid`)) ?? ''
      t.equal(await readFile(join(root, copy), 'utf8'), 'hello')
      t.match(await talk.ask('get_paths domain=test&key=from+ours'), /^OK paths=2&/)

      await talk.ask('set_state host=node1&device=1&state=readonly')
      // The SDK asks either tracker, and the other one may not have heard of that yet.
      const other = await openTalk(t, cluster.trackers[1]?.listening()['wire'] ?? '')
      await other.ask('clear_cache')
      const { devids } = await cluster.client.put('of the SDK', 'hello', { class: 'one' })
      t.strictSame(devids, [28])
      t.equal(await (await cluster.client.get('of the SDK')).text(), 'hello')

      for (const key of ['to+ours', 'from+ours', 'of+the+SDK'])
        await talk.ask(`delete domain=test&key=${key}`)
      const sql = await openSql(t, cluster.databaseUrl)
      await until('its bytes are gone', async () => {
        // A busy machine may not answer in time, and would be asked again in ten minutes.
        await sql('update delete_job set next_try = now() where last_error is not null')
        return (await stored()).length === 0
      })
    },
  )

  /** Makes it the only node that takes files, until `t` ends. */
  async function alone(
    t: Test,
    talk: Talk,
    node: Pick<ForeignNode, 'port'>,
    devid: number,
  ): Promise<void> {
    await register(talk, node, devid)
    await talk.ask('set_state host=node1&device=1&state=readonly')
    t.teardown(async () => {
      await talk.ask('set_state host=node1&device=1&state=alive')
      await remove(talk, devid)
    })
  }

  async function remove(talk: Talk, devid: number): Promise<void> {
    await talk.ask(`set_state host=foreign${devid}&device=${devid}&state=dead`)
  }
})
