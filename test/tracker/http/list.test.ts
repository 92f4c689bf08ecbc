import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { decodeKey, encodeKey } from '../../../common/keys.ts'
import type { FileList } from '../../../common/protocol/files.ts'
import { slotOf } from '../../../tracker/store/slot.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { openSql } from '../database.ts'
import { createCall } from './calls.ts'

/** Bytes that make neighbours and prefixes of each other likely. */
const letter = fc.constantFrom(0x00, 0x2f, 0x2f, 0x61, 0x62, 0xfe, 0xff, 0xff)
const bytes = (minLength: number): fc.Arbitrary<Buffer> =>
  fc.array(letter, { minLength, maxLength: 5 }).map(array => Buffer.from(array))

/** What a listing must hold, entry by entry in byte order. */
function model(keys: Buffer[], prefix: Buffer, delimiter: Buffer | undefined): string[] {
  const entries = new Set<string>()
  for (const key of [...keys].sort((a, b) => Buffer.compare(a, b))) {
    if (!key.subarray(0, prefix.length).equals(prefix)) continue
    const at = delimiter ? key.indexOf(delimiter, prefix.length) : -1
    const folded = delimiter && at >= 0 ? key.subarray(0, at + delimiter.length) : undefined
    entries.add(folded ? `${folded.toString('hex')}*` : key.toString('hex'))
  }
  return [...entries]
}

const hexOf = ({ key, keyBytes }: { key: string; keyBytes?: string }): string =>
  (keyBytes === undefined ? Buffer.from(key) : Buffer.from(keyBytes, 'base64url')).toString('hex')

t.test('paging through a listing gives every entry once, in byte order', async t => {
  const cluster = await startCluster(t, { hosts: 1 })
  const call = createCall(cluster.http, cluster.token)
  const sql = await openSql(t, cluster.databaseUrl)
  const [domain] = await sql<{ id: number }>(`select id from domain where name = 'test'`)
  const domainId = domain?.id ?? 0

  const store = async (keys: Buffer[]): Promise<void> => {
    await sql('delete from file')
    await sql(
      `insert into file (fid, slot, domain_id, class_id, key, size, devids)
       select fid, slot, $1, 0, key, 0, '{}'
       from unnest($2::bigint[], $3::smallint[], $4::bytea[]) as row (fid, slot, key)`,
      [domainId, keys.map((_, i) => i + 1), keys.map(key => slotOf(domainId, key)), keys],
    )
  }
  const page = async (query: Record<string, string | undefined>): Promise<FileList> => {
    const pairs = Object.entries(query).filter(([, value]) => value !== undefined)
    const text = pairs.map(([name, value]) => `${name}=${value}`).join('&')
    const answer = await call('GET', `/v1/domains/test/files?${text}`)
    if (answer.status !== 200) throw new Error(answer.text)
    return answer.json<FileList>()
  }

  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(bytes(1), { maxLength: 14, selector: key => key.toString('hex') }),
      fc.oneof(fc.constant(Buffer.alloc(0)), bytes(0)),
      fc.constantFrom(undefined, '/', 'a', '//', '%FF'),
      fc.integer({ min: 1, max: 3 }),
      async (keys, prefix, delimiter, limit) => {
        await store(keys)
        const wanted = model(
          keys,
          prefix,
          delimiter === undefined ? undefined : decodeKey(delimiter),
        )
        const found: string[] = []
        let after: string | undefined
        for (let pages = 0; pages <= wanted.length; pages++) {
          const query = { prefix: encodeKey(prefix), delimiter, limit: String(limit), after }
          const { files, prefixes, next } = await page(query)
          const entries = [...files.map(hexOf), ...prefixes.map(prefix => `${hexOf(prefix)}*`)]
          // Files and prefixes of a page come apart; together they are in order.
          found.push(...entries.sort((a, b) => (a.replace('*', '') < b.replace('*', '') ? -1 : 1)))
          if (next === undefined) break
          if (entries.length !== limit) throw new Error('a page that is not the last is full')
          after = next
        }
        assert.deepStrictEqual(found, wanted)
      },
    ),
    { numRuns: 60, seed: 7 },
  )

  t.test('without a limit a page has 1,000 entries', async t => {
    const keys = Array.from({ length: 1003 }, (_, i) =>
      Buffer.from(`k${String(i).padStart(4, '0')}`),
    )
    await store(keys)
    const first = await page({})
    t.equal(first.files.length, 1000)
    t.equal(first.next, 'k0999')
    const rest = await page({ after: first.next })
    t.strictSame([rest.files.length, rest.next], [3, undefined])
  })

  t.test('a cursor behind or before everything with the prefix does what it says', async t => {
    await store(['a', 'b1', 'b2', 'c'].map(key => Buffer.from(key)))
    const keys = async (query: Record<string, string>): Promise<string[]> =>
      (await page(query)).files.map(({ key }) => key)
    t.strictSame(await keys({ prefix: 'b', after: 'a' }), ['b1', 'b2'])
    t.strictSame(await keys({ prefix: 'b', after: 'b1' }), ['b2'])
    t.strictSame(await keys({ prefix: 'b', after: 'c' }), [])
    t.strictSame(await keys({ after: 'b1zzz' }), ['b2', 'c'])
  })
})
