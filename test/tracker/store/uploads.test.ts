import t from 'tap'
import { createBatcher } from '../../../tracker/store/batch.ts'
import { insertDeletion } from '../../../tracker/store/jobs.ts'
import { createNames } from '../../../tracker/store/names.ts'
import {
  abandonUpload,
  findUploads,
  commitKeys,
  commitUploads,
  type Commit,
  insertUploads,
  listExpiredUploads,
  removeFinishedUploads,
} from '../../../tracker/store/uploads.ts'
import { caller, openStore } from './store.ts'

t.test(
  'of commits to one key at the same time one stands and the others are queued for deletion',
  async t => {
    const { sql, key, open, commit, find } = await openStore(t)
    const fids = Array.from({ length: 16 }, (_, i) => i + 1)
    for (const fid of fids) await open(fid, 'key', [fid, 100 + fid])
    const committed = await Promise.all(fids.map(fid => commit(fid, 'key', [fid, 100 + fid])))
    t.ok(committed.every(at => at instanceof Date))

    const winner = await find('key')
    t.strictSame(winner?.devids, [winner?.fid, 100 + (winner?.fid ?? 0)])
    t.equal((await sql('select from file')).length, 1)
    const jobs = await sql<{ fid: number; devids: number[]; slot: number }>(
      'select fid, devids, slot from delete_job order by fid',
    )
    t.strictSame(
      jobs,
      fids
        .filter(fid => fid !== winner?.fid)
        .map(fid => ({ fid, devids: [fid, 100 + fid], slot: key('key').slot })),
    )
    t.equal((await sql(`select from audit where action = 'put'`)).length, 16)
  },
)

t.test('an upload is committed once', async t => {
  const { db, sql, key, open, commit, find, remove } = await openStore(t)
  await open(1, 'key')
  const answers = await Promise.all(Array.from({ length: 6 }, () => commit(1, 'key')))
  t.equal(answers.filter(at => at !== undefined).length, 1)
  t.equal(await commit(1, 'key'), undefined)
  t.strictSame(await sql('select from delete_job'), [], 'it never displaces itself')

  const row = (await findUploads(db, [{ fid: 1, slot: key('key').slot }]))[0]
  t.match(row, { answer: { size: 5, devids: [1, 2], copies: 2 }, expired: false })
  t.same(
    row?.committedAt,
    answers.find(at => at !== undefined),
  )

  t.equal(await remove('key'), true)
  t.equal(await commit(1, 'key'), undefined, 'what was deleted stays deleted')
  t.equal(await find('key'), undefined)
})

t.test('an upload that is forgotten when it is committed is committed once as well', async t => {
  const { sql, open, commit, find, remove } = await openStore(t)
  await open(1, 'key')
  const once = (): Promise<Date | undefined> => commit(1, 'key', [1, 2], { repeatable: false })
  const answers = await Promise.all([once(), commit(1, 'key'), once(), once()])
  t.equal(answers.filter(at => at !== undefined).length, 1)
  t.equal(await once(), undefined)
  t.strictSame(await sql('select from delete_job'), [])
  t.equal((await find('key'))?.fid, 1)
  t.equal(await remove('key'), true)
  t.equal(await once(), undefined, 'what was deleted stays deleted')
})

t.test(
  'an upload that was opened here is found open once, then as the database has it',
  async t => {
    const { db, key, open } = await openStore(t)
    const names = createNames(db, db)
    const upload = {
      ...key('key'),
      classId: 0,
      size: null,
      devids: [1, 2],
      durability: 'fast',
      contentType: null,
      metadata: null,
      seconds: 60,
    } as const
    await names.insertUpload({ ...upload, fid: 1 })
    await names.insertUpload({ ...upload, fid: 2, metadata: { long: 'x' } })
    for (const fid of [1, 2]) {
      for (const time of ['first', 'second']) {
        t.match(await names.findOpenUpload(fid), { fid, devids: [1, 2], expired: false }, time)
      }
    }
    await names.insertUpload({ ...upload, fid: 3 })
    await abandonUpload(db, { fid: 3, slot: upload.slot }, 0)
    t.ok(await names.findOpenUpload(3), 'what happened elsewhere is not known')
    t.equal(await names.findOpenUpload(3), undefined)
    await open(4, 'key')
    t.ok(await names.findOpenUpload(4), 'one of another tracker is found')

    await names.insertUpload({ ...upload, fid: 5 })
    const [here, there] = [
      await names.findUpload({ ...upload, fid: 5 }),
      await names.findUpload({ ...upload, fid: 5 }),
    ]
    t.same({ ...here, expiresAt: 0 }, { ...there, expiresAt: 0 }, 'both ways know the same')
    t.equal(here?.expiresAt.getTime(), there?.expiresAt.getTime())
  },
)

t.test('a delete and a commit at the same time leave one of two whole states', async t => {
  const { sql, open, commit, put, find, remove } = await openStore(t)
  for (let round = 0; round < 20; round++) {
    const [old, fresh] = [2 * round + 1, 2 * round + 2]
    await sql('delete from delete_job')
    await put(old, 'key', [old])
    await open(fresh, 'key', [fresh])
    const [, removed] = await Promise.all([commit(fresh, 'key', [fresh]), remove('key')])
    t.equal(removed, true)
    const live = await find('key')
    const queued = await sql<{ fid: number }>('select fid from delete_job order by fid')
    const wanted = live ? [old] : [old, fresh]
    t.strictSame(
      queued.map(({ fid }) => fid),
      wanted,
    )
    if (live) t.equal(live.fid, fresh)
    await remove('key')
  }
})

t.test('a commit queues the copies that are missing', async t => {
  const { sql, open, commit } = await openStore(t)
  await open(1, 'whole')
  await commit(1, 'whole')
  t.strictSame(await sql('select from replicate_job'), [])
  await open(2, 'lacking')
  await commit(2, 'lacking', [1], { replicate: true })
  t.strictSame(await sql('select fid, attempts from replicate_job'), [{ fid: 2, attempts: 0 }])
})

t.test('an upload that ran out is not committed', async t => {
  const { db, sql, open, commit, find } = await openStore(t)
  const upload = await open(1, 'key', [3, 4])
  await sql(`update upload set expires_at = now() - interval '1 second'`)
  t.equal(await commit(1, 'key'), undefined)
  t.equal(await find('key'), undefined)
  t.match((await findUploads(db, [upload]))[0], { expired: true, committedAt: null })

  t.strictSame(await listExpiredUploads(db, 10), [{ ...upload, committed: false }])
  await insertDeletion(db, upload, { devids: [7], seconds: 3600 })
  t.equal(await abandonUpload(db, upload, 0), true)
  t.equal(await abandonUpload(db, upload, 0), false)
  const queued = await sql<{ devids: number[] }>('select devids from delete_job')
  t.strictSame(new Set(queued[0]?.devids), new Set([3, 4, 7]))
  t.strictSame(await sql('select from upload'), [])
})

t.test('of an expiry and a commit at the same time one wins', async t => {
  const { db, sql, open, commit, find } = await openStore(t)
  for (let fid = 1; fid <= 20; fid++) {
    const upload = await open(fid, `key ${fid}`)
    const [committed, abandoned] = await Promise.all([
      commit(fid, `key ${fid}`),
      abandonUpload(db, upload, 0),
    ])
    t.equal(committed === undefined, abandoned)
    t.equal((await find(`key ${fid}`)) === undefined, abandoned)
    const queued = await sql('select from delete_job where fid = $1', [fid])
    t.equal(queued.length > 0, abandoned)
  }
})

t.test('the answer of a finished upload is kept for a while and then forgotten', async t => {
  const { db, sql, put } = await openStore(t)
  const upload = await put(1, 'key')
  t.strictSame(await listExpiredUploads(db, 10), [])
  await removeFinishedUploads(db, [upload])
  t.equal((await sql('select from upload')).length, 1, 'not before its time')
  await sql(`update upload set expires_at = now() - interval '1 second'`)
  t.strictSame(await listExpiredUploads(db, 10), [{ ...upload, committed: true }])
  t.equal(await abandonUpload(db, upload, 0), false, 'it cannot be given up any more')
  await removeFinishedUploads(db, [upload])
  t.strictSame(await sql('select from upload'), [])
})

t.test('nothing is opened in a domain that has gone', async t => {
  const { db, sql, key, domainId } = await openStore(t)
  await sql('delete from domain where id = $1', [domainId])
  const [expiresAt] = await insertUploads(db, [
    {
      ...key('key'),
      fid: 1,
      classId: 0,
      size: null,
      devids: [1],
      durability: 'fast',
      contentType: null,
      metadata: null,
      seconds: 60,
    },
  ])
  t.equal(expiresAt, undefined)
  t.strictSame(await sql('select from upload'), [])
})

t.test('uploads that are committed in one statement do not affect each other', async t => {
  const { db, sql, key, open, put } = await openStore(t)
  await put(1, 'replaced', [3, 4])
  for (const [fid, name] of [
    [2, 'replaced'],
    [3, 'new'],
    [5, 'short of copies'],
  ] as const) {
    await open(fid, name)
  }
  const commit = (fid: number, name: string, devids: number[]): Commit => ({
    upload: { fid, slot: key(name).slot },
    file: key(name),
    answer: { size: fid, devids, copies: devids.length },
    checksum: null,
    replicate: devids.length < 2,
    repeatable: fid === 2,
    graceSeconds: 0,
    caller,
  })
  const times = await commitUploads(db, [
    commit(2, 'replaced', [1, 2]),
    commit(3, 'new', [5, 6, 7]),
    commit(4, 'never opened', [1, 2]),
    commit(5, 'short of copies', [1]),
  ])
  t.same(
    times.map(time => time !== undefined),
    [true, true, false, true],
  )
  t.strictSame(await sql('select fid, size, devids from file order by fid'), [
    { fid: 2, size: 2, devids: [1, 2] },
    { fid: 3, size: 3, devids: [5, 6, 7] },
    { fid: 5, size: 5, devids: [1] },
  ])
  t.strictSame(await sql('select fid, devids from delete_job'), [{ fid: 1, devids: [3, 4] }])
  t.strictSame(await sql('select fid from replicate_job'), [{ fid: 5 }])
  t.strictSame(
    await sql('select fid from upload where fid > 1 order by fid'),
    [{ fid: 2 }],
    'a commit that cannot be repeated leaves no upload behind',
  )
})

t.test(
  'batches of commits on the same keys in any order neither block nor lose anything',
  async t => {
    const { db, sql, key, open } = await openStore(t)
    const names = ['a', 'b', 'c', 'd', 'e']
    const commitUpload = createBatcher<Commit, Date | undefined>({
      limit: 4,
      parallel: 4,
      keysOf: commitKeys,
      run: commits => commitUploads(db, commits),
    })
    const fids = Array.from({ length: 100 }, (_, i) => i + 1)
    const nameOf = (fid: number): string => names[(fid * 7) % names.length]!
    for (const fid of fids) await open(fid, nameOf(fid))
    const times = await Promise.all(
      fids.map(fid =>
        commitUpload({
          upload: { fid, slot: key(nameOf(fid)).slot },
          file: key(nameOf(fid)),
          answer: { size: 1, devids: [1], copies: 1 },
          checksum: null,
          replicate: false,
          repeatable: fid % 2 === 0,
          graceSeconds: 0,
          caller,
        }),
      ),
    )
    t.ok(times.every(time => time !== undefined))
    const live = await sql('select fid from file')
    const displaced = await sql('select fid from delete_job')
    t.equal(live.length, names.length)
    t.same(
      [...live, ...displaced].map(({ fid }) => Number(fid)).sort((a, b) => a - b),
      fids,
      'every content is live or queued for deletion, once',
    )
  },
)
