import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { parseUsage } from '../../../tracker/workers/probe.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'

t.test('a usage file is read as MogileFS writes it', async t => {
  const text =
    'available: 30\ndevice: /dev/sda\ndisk: /dev/sda\ntime: 1\ntotal: 100\nuse: 70%\nused: 70\n'
  const usage = { totalBytes: 102_400, usedBytes: 71_680, utilization: undefined, time: 1 }
  t.strictSame(parseUsage(text), usage)
  t.strictSame(parseUsage(`${text}utilization: 3.10\n`), { ...usage, utilization: 3.1 })
  t.strictSame(parseUsage(`${text}unreadable: 5 12\n`), { ...usage, unreadable: [5, 12] })
  for (const broken of [
    '',
    'total: 100\n',
    'total: 0\nused: 0\n',
    'total: x\nused: 70\n',
    '<html>total: 1 used: 1',
  ]) {
    t.equal(parseUsage(broken), undefined, JSON.stringify(broken))
  }
})

t.test('the monitor sees what devices can do', async t => {
  const cluster = await startCluster(t, { hosts: 2, devices: 2 })
  const sql = await openSql(t, cluster.databaseUrl)
  const [first, second] = cluster.nodes
  const observed = async (): Promise<string> =>
    (await cluster.api.listDevices()).map(device => device.observed).join(' ')
  const become = (wanted: string) =>
    until(`the devices are ${wanted}`, async () => (await observed()) === wanted)
  t.equal(await observed(), 'writeable writeable writeable writeable')

  t.test('how full they are', async t => {
    for (const { totalBytes, usedBytes } of await cluster.api.listDevices()) {
      t.ok(usedBytes && totalBytes && usedBytes > 0 && usedBytes < totalBytes)
    }
    const known =
      'select from device where total_bytes > 0 and used_bytes > 0 and usage_at is not null'
    t.equal((await sql(known)).length, 4, 'the database knows it too')
  })

  t.test('a node that ends and comes back', async t => {
    await second?.close()
    await become('writeable writeable unreachable unreachable')
    const { targets } = await cluster.api.openUpload(
      { domain: 'test', key: 'k' },
      { durability: 'fast' },
    )
    t.ok(
      targets.every(({ host }) => host === first?.name),
      'nothing is offered there',
    )
    await second?.restart()
    await become('writeable writeable writeable writeable')
  })

  t.test('a device whose directory is gone, beside one that works', async () => {
    const path = join(first?.root ?? '', 'dev1')
    await rename(path, `${path}-away`)
    await become('unreachable writeable writeable writeable')
    await rename(`${path}-away`, path)
    await become('writeable writeable writeable writeable')
  })

  t.test('a device that is readonly is not written to', async t => {
    await cluster.api.changeDevice(2, { status: 'readonly' })
    t.equal(
      await observed(),
      'writeable readable writeable writeable',
      'the answer comes after a look',
    )
    await cluster.api.changeDevice(2, { status: 'alive' })
    t.equal(await observed(), 'writeable writeable writeable writeable')
  })

  t.test('a device that answers reads and fails writes is read, and gets no files', async t => {
    await cluster.client.put('here', 'hello', { durability: 'fast' })
    const { devids } = await cluster.api.stat({ domain: 'test', key: 'here' })
    const devid = devids[0] ?? 0
    const node = cluster.nodes.find(one => one.devids.includes(devid))
    const place = join(node?.root ?? '', `dev${devid}`, 'test-write')
    await rename(place, `${place}-away`)
    await writeFile(place, 'no directory')
    // It is tested when it comes back into service.
    await cluster.api.changeDevice(devid, { status: 'readonly' })
    await cluster.api.changeDevice(devid, { status: 'alive' })
    const device = (await cluster.api.listDevices()).find(one => one.devid === devid)
    t.match(device, { observed: 'readable', lost: false, problem: /./ })
    const key = { domain: 'test', key: 'elsewhere' }
    const { targets } = await cluster.api.openUpload(key, { durability: 'fast' })
    t.ok(targets.length > 0 && targets.every(target => target.devid !== devid))
    t.equal(await (await cluster.client.get('here')).text(), 'hello')
    await rm(place)
    await rename(`${place}-away`, place)
    await become('writeable writeable writeable writeable')
  })
})
