import fc from 'fast-check'
import t from 'tap'
import { isUniqueViolation } from '../../../tracker/store/db.ts'
import { listFiles, listKeys, updateFile } from '../../../tracker/store/files.ts'
import { createNames } from '../../../tracker/store/names.ts'
import { insertDeletion } from '../../../tracker/store/jobs.ts'
import { caller, openStore } from './store.ts'

t.test('keys are listed in the order of their bytes', async t => {
  const { db, sql, domainId, key } = await openStore(t)
  const hex = [
    '00',
    '0000',
    '2f',
    '61',
    '6100',
    '612f62',
    '61ff',
    '61ffff',
    '62',
    'c3a9',
    'ff',
    'ff00',
    'ffff',
  ]
  const keys = hex.map(text => key(Buffer.from(text, 'hex')))
  await sql(
    `insert into file (fid, slot, domain_id, class_id, key, size, devids)
     select row_number() over (), slot, domain, 0, key, 0, '{}'
     from unnest($1::smallint[], $2::bytea[]) as row (slot, key),
       (values ($3::int), ($3 + 1)) as domains (domain)`,
    [keys.map(({ slot }) => slot), keys.map(key => key.key), domainId],
  )
  const list = async (
    from: string,
    {
      exclusive = false,
      below,
      limit = 100,
    }: { exclusive?: boolean; below?: string; limit?: number } = {},
  ): Promise<string[]> => {
    const files = await listFiles(db, {
      domainId,
      from: Buffer.from(from, 'hex'),
      exclusive,
      below: below === undefined ? undefined : Buffer.from(below, 'hex'),
      limit,
    })
    return files.map(file => file.key.toString('hex'))
  }
  t.strictSame(await list(''), hex)
  t.strictSame(await list('61'), hex.slice(3))
  t.strictSame(await list('61', { exclusive: true }), hex.slice(4))
  t.strictSame(await list('61', { below: '62' }), ['61', '6100', '612f62', '61ff', '61ffff'])
  t.strictSame(await list('61', { exclusive: true, below: '62', limit: 2 }), ['6100', '612f62'])
  t.strictSame(await list('ff'), ['ff', 'ff00', 'ffff'])
  t.strictSame(await list('ffff', { exclusive: true }), [])

  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...hex),
      fc.constantFrom(...hex),
      fc.integer({ min: 1, max: 13 }),
      async (from, below, limit) => {
        const wanted = hex.filter(text => text > from && text < below).slice(0, limit)
        const found = await list(from, { exclusive: true, below, limit })
        return found.join() === wanted.join()
      },
    ),
    { numRuns: 50 },
  )
})

t.test('keys alone are listed byte for byte, whatever they are made of', async t => {
  const { db, sql, domainId, key } = await openStore(t)
  const list = (from = '', limit = 1000): Promise<string[]> =>
    listKeys(db, { domainId, from: Buffer.from(from), exclusive: true, below: undefined, limit })
  t.strictSame(await list(), [])
  const pieces = fc.constantFrom(
    'a',
    '0',
    ',',
    '\\',
    '\\,',
    '\\134',
    '\0',
    '\n',
    '\x7f',
    '\xff',
    '\xc4\x80',
  )
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(
        fc.array(pieces, { minLength: 1, maxLength: 6 }).map(parts => parts.join('')),
        { minLength: 1, maxLength: 20 },
      ),
      async names => {
        const keys = names.map(name => key(Buffer.from(name, 'latin1')))
        await sql('truncate file')
        await sql(
          `insert into file (fid, slot, domain_id, class_id, key, size, devids)
           select row_number() over (), slot, $3, 0, key, 0, '{}'
           from unnest($1::smallint[], $2::bytea[]) as row (slot, key)`,
          [keys.map(({ slot }) => slot), keys.map(key => key.key), domainId],
        )
        const ordered = names.toSorted((a, b) => (a < b ? -1 : 1))
        t.strictSame(await list(), ordered)
        t.strictSame(await list('', 3), ordered.slice(0, 3))
      },
    ),
    { numRuns: 50 },
  )
})

t.test('a rename takes the file and its waiting job along', async t => {
  const { sql, key, open, commit, find, move } = await openStore(t)
  const sameSlot = (from: string): string => {
    for (let i = 0; ; i++) if (key(`to ${i}`).slot === key(from).slot) return `to ${i}`
  }
  const rows: [fid: number, from: string, to: string][] = [
    [1, 'one', 'other slot'],
    [2, 'two', sameSlot('two')],
  ]
  for (const [fid, from, to] of rows) {
    await open(fid, from)
    await commit(fid, from, [1], { replicate: true })
    await sql(
      `update replicate_job set attempts = 3, last_error = 'why', next_try = now() + interval '1 hour'
       where fid = $1`,
      [fid],
    )
    const [job] = await sql('select * from replicate_job where fid = $1', [fid])
    const before = await find(from)

    const moved = await move(from, to)
    const { slot } = key(to)
    t.match(moved, { ...before, key: Buffer.from(to), slot, modifiedAt: Date })
    t.same(await find(to), moved)
    t.equal(await find(from), undefined)
    t.strictSame(await sql('select * from replicate_job where fid = $1', [fid]), [{ ...job, slot }])
  }
  t.equal(await move('none', 'x'), undefined)
  t.strictSame(await sql('select from delete_job'), [])
})

t.test('a rename onto a key that is taken changes nothing', async t => {
  const { sql, open, commit, put, move } = await openStore(t)
  await open(1, 'from')
  await commit(1, 'from', [1], { replicate: true })
  await put(2, 'to')
  const before = [
    await sql('select * from file order by fid'),
    await sql('select * from replicate_job'),
  ]
  t.equal(await move('from', 'to'), undefined)
  t.strictSame(
    [await sql('select * from file order by fid'), await sql('select * from replicate_job')],
    before,
  )
})

t.test('of renames onto one key one wins', async t => {
  const { sql, put, move } = await openStore(t)
  const fids = [1, 2, 3, 4, 5, 6]
  for (const fid of fids) await put(fid, `from ${fid}`)
  const results = await Promise.allSettled(fids.map(fid => move(`from ${fid}`, 'to')))
  const moved = results.filter(result => result.status === 'fulfilled' && result.value)
  t.equal(moved.length, 1)
  for (const result of results) {
    if (result.status === 'rejected') t.ok(isUniqueViolation(result.reason))
  }
  t.equal((await sql('select from file')).length, 6)
})

t.test('renames that arrive together answer each by itself', async t => {
  const { db, sql, key, put, find } = await openStore(t)
  for (const [i, name] of ['a', 'b', 'c', 'taken'].entries()) await put(i + 1, name)
  const names = createNames(db, db)
  const rows: [from: string, to: string, works: boolean][] = [
    ['a', 'a2', true],
    ['none', 'x', false],
    ['b', 'taken', false],
    ['c', 'c2', true],
  ]
  const moved = await Promise.all(
    rows.map(([from, to]) => names.moveFile({ from: key(from), to: key(to) })),
  )
  t.strictSame(
    moved.map(file => file !== undefined),
    rows.map(([, , works]) => works),
  )
  const fids = await Promise.all(
    ['a2', 'b', 'c2', 'taken'].map(async name => (await find(name))?.fid),
  )
  t.strictSame(fids, [1, 2, 3, 4])
  t.equal((await sql('select from file')).length, 4)
})

t.test('removals that arrive together answer each by itself', async t => {
  const { db, sql, key, put } = await openStore(t)
  for (const [i, name] of ['a', 'b', 'c'].entries()) await put(i + 1, name)
  const names = createNames(db, db)
  const rows: [name: string, fid: number | undefined, works: boolean][] = [
    ['a', undefined, true],
    ['a', undefined, false],
    ['none', undefined, false],
    ['b', 1, false], // stands for another content
    ['c', 3, true],
  ]
  const removed = await Promise.all(
    rows.map(([name, fid]) => names.removeFile({ file: key(name), fid, graceSeconds: 0, caller })),
  )
  t.strictSame(
    removed,
    rows.map(([, , works]) => works),
  )
  t.strictSame(await sql('select fid from file'), [{ fid: 2 }])
  t.strictSame(await sql('select fid from delete_job order by fid'), [{ fid: 1 }, { fid: 3 }])
})

t.test('a removal queues the bytes for after the grace period, once', async t => {
  const { sql, put, remove } = await openStore(t)
  const { fid, slot } = await put(1, 'key', [3, 4])
  const removed = await Promise.all([1, 2, 3].map(() => remove('key', 3600)))
  t.strictSame(removed.filter(Boolean), [true])
  const [job] = await sql<{ wait: number }>(
    `select fid, slot, devids, extract(epoch from next_try - now())::int as wait from delete_job`,
  )
  t.match(job, { fid, slot, devids: [3, 4] })
  t.ok((job?.wait ?? 0) > 3500)
  t.match(await sql(`select actor, action, fid from audit order by at`), [
    { actor: 'tester', action: 'put', fid },
    { actor: 'tester', action: 'delete', fid },
  ])
})

t.test('a change of class queues a look at the copies, other changes do not', async t => {
  const { db, sql, key, put } = await openStore(t)
  await put(1, 'key')
  const jobs = () => sql('select fid from replicate_job')
  t.match(await updateFile(db, key('key'), { contentType: 'a/b', metadata: { x: 'y' } }), {
    contentType: 'a/b',
    metadata: { x: 'y' },
    classId: 0,
  })
  await updateFile(db, key('key'), { classId: 0 })
  t.strictSame(await jobs(), [])
  t.match(await updateFile(db, key('key'), { classId: 7, contentType: null }), {
    classId: 7,
    contentType: null,
    metadata: { x: 'y' },
  })
  t.strictSame(await jobs(), [{ fid: 1 }])
  await sql(`update replicate_job set next_try = 'infinity'`)
  await updateFile(db, key('key'), { classId: 8 })
  t.strictSame(
    await sql(`select fid from replicate_job where next_try <= now() + interval '1 second'`),
    [{ fid: 1 }],
    'whoever has it goes on with it before others claim it',
  )
  t.equal(await updateFile(db, key('none'), { classId: 7 }), undefined)
})

t.test('bytes without a row are queued, and added to what is queued already', async t => {
  const { db, sql } = await openStore(t)
  const file = { fid: 1, slot: 2 }
  await insertDeletion(db, file, { devids: [1, 2], seconds: 0 })
  await insertDeletion(db, file, { devids: [2, 3], seconds: 0 })
  const [job] = await sql<{ devids: number[] }>('select devids from delete_job')
  t.strictSame(
    job?.devids.sort((a, b) => a - b),
    [1, 2, 3],
  )
})
