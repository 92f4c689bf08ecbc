import t from 'tap'
import { createClient } from '../../../client/index.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'

t.test('two trackers on one database are equal', async t => {
  const cluster = await startCluster(t, {
    hosts: 2,
    trackers: 2,
    settings: { delete_grace_seconds: '0' },
  })
  const clientOf = (index: number, token = cluster.token) => {
    const trackers = [`http://${cluster.trackers[index]?.listening()['http']}`]
    const client = createClient({ trackers, token, domain: 'test' })
    t.teardown(() => client.close())
    return client
  }
  const [one, two] = [clientOf(0), clientOf(1)]

  t.test('what one was told the other knows at once', async t => {
    await one.put('key', 'hello')
    t.equal(await (await two.get('key')).text(), 'hello')
    await two.put('key', 'hello again')
    t.equal(await (await one.get('key')).text(), 'hello again')
    await one.delete('key')
    await t.rejects(two.stat('key'), { code: 'unknown_key' })
  })

  t.test('names that one makes the other finds when it is asked for them', async t => {
    for (const name of ['early', 'late', 'fresh']) {
      await one.api.createDomain(name)
      await two.domain(name).put('key', 'hello')
    }
    await one.api.createClass('fresh', { name: 'thumb' })
    const { token } = await one.api.createToken({ name: 'fresh', scope: 'write', domain: 'fresh' })
    await clientOf(1, token).domain('fresh').put('key', 'hello', { class: 'thumb' })
    t.equal((await one.domain('fresh').stat('key')).class, 'thumb')
  })

  t.test('changes of one reach the other within seconds', async t => {
    const { token, id } = await one.api.createToken({ name: 'short', scope: 'admin' })
    const short = clientOf(1, token)
    await short.api.listDomains()
    await one.api.deleteToken(id)
    await one.api.putSetting('upload_seconds', '77')
    await one.api.changeDevice(1, { status: 'drain' })
    const startedAt = performance.now()
    await until('the token is refused', () =>
      short.api.listDomains().then(
        () => false,
        () => true,
      ),
    )
    await until(
      'the setting is there',
      async () => (await two.api.listSettings())['upload_seconds'] === '77',
    )
    await until('the device is drained', async () =>
      (await two.api.listDevices()).some(({ devid, status }) => devid === 1 && status === 'drain'),
    )
    t.ok(performance.now() - startedAt < 30_000)
    await one.api.changeDevice(1, { status: 'alive' })
    await until('the device is back', async () =>
      (await two.api.listDevices()).every(({ status }) => status === 'alive'),
    )
  })

  t.test('they share the work, and one does it alone', async t => {
    await cluster.settled()
    const before = (await cluster.replicas()).length
    const put = async (name: string, client: typeof one): Promise<void> => {
      const keys = Array.from({ length: 20 }, (_, i) => `${name}/${i}`)
      await Promise.all(keys.map(key => client.put(key, key, { durability: 'fast' })))
    }
    await Promise.all([put('one', one), put('two', two)])
    await cluster.settled()
    t.equal((await cluster.replicas()).length - before, 80, 'no job was done twice')

    await cluster.trackers[1]?.close()
    await put('alone', one)
    await cluster.settled()
    t.equal((await cluster.replicas()).length - before, 120)
  })
})
