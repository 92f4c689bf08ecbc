import { createHash } from 'node:crypto'
import t from 'tap'
import { startCluster } from '../helpers/cluster.ts'

t.setTimeout(600_000)

t.test(
  '64 concurrent puts to one key leave one of the 64 contents, and no stray replica',
  async t => {
    const cluster = await startCluster(t, { trackers: 2, settings: { delete_grace_seconds: '0' } })
    const { client } = cluster
    const contents = Array.from({ length: 64 }, (_, i) => `content ${i} `.repeat(i + 1))
    const results = await Promise.allSettled(
      contents.map(content => client.put('one/key', content)),
    )
    const failed = results.filter(({ status }) => status === 'rejected')
    t.same(failed, [], 'every put is acknowledged')
    const text = await (await client.get('one/key')).text()
    t.ok(contents.includes(text), 'the content is one of them')

    await cluster.settled()
    const keys: string[] = []
    for await (const { key } of client.list()) keys.push(key)
    t.same(keys, ['one/key'])
    const { fid, devids } = await client.stat('one/key')
    const digits = String(fid).padStart(10, '0')
    t.same(
      await cluster.replicas(),
      devids
        .map(
          devid =>
            `dev${devid}/${digits[0]}/${digits.slice(1, 4)}/${digits.slice(4, 7)}/${digits}.fid`,
        )
        .sort(),
    )
  },
)

t.test(
  '3,000 small files go up and are listed in order by prefix',
  { timeout: 300_000 },
  async t => {
    const { client } = await startCluster(t, { trackers: 1 })
    const count = 3_000
    const keyOf = (i: number): string => `many/${String(i).padStart(5, '0')}`
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < count) {
        const i = next++
        await client.put(keyOf(i), `file ${i}`)
      }
    }
    await Promise.all(Array.from({ length: 24 }, lane))
    await client.put('other', 'x')
    await client.put('mant', 'x')
    let at = 0
    for await (const { key, size } of client.list({ prefix: 'many/' })) {
      if (key !== keyOf(at) || size !== `file ${at}`.length) t.fail(`entry ${at} is ${key}`)
      at++
    }
    t.equal(at, count)
    const sample = await client.get(keyOf(2711))
    t.equal(await sample.text(), 'file 2711')
    t.equal(sample.sha256, createHash('sha256').update('file 2711').digest('hex'))
  },
)
