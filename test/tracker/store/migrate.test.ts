import { readdir } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { migrate } from '../../../tracker/store/migrate.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { openSql } from '../database.ts'
import { openPool } from './store.ts'

/** A database without any table. */
async function emptyDatabase(t: Test) {
  const { url } = await testDatabase(t)
  const sql = await openSql(t, url)
  await sql('drop schema public, mogilefs cascade')
  await sql('create schema public')
  return { url, sql }
}

t.test('starters at the same time apply every migration once', async t => {
  const { url, sql } = await emptyDatabase(t)
  const pools = Array.from({ length: 8 }, () => openPool(t, url))
  await Promise.all(pools.map(migrate))

  const directory = new URL('../../../../tracker/migrations/', import.meta.url)
  const files = (await readdir(directory)).filter(name => name.endsWith('.sql')).sort()
  t.strictSame(
    await sql('select number from migration order by number'),
    files.map(name => ({ number: Number(name.slice(0, 4)) })),
  )
  t.strictSame(await sql('select id, next from fid_counter'), [{ id: 1, next: 1 }])
})

t.test('a schema that is there is left alone', async t => {
  const { url } = await testDatabase(t)
  const sql = await openSql(t, url)
  const ledger = await sql('select * from migration')
  await sql('update fid_counter set next = 4711')
  await migrate(openPool(t, url))
  t.strictSame(await sql('select * from migration'), ledger)
  t.strictSame(await sql('select next from fid_counter'), [{ next: 4711 }])
})

t.test('a schema newer than the program is refused', async t => {
  const { url } = await testDatabase(t)
  const sql = await openSql(t, url)
  await sql('insert into migration (number) values (9999)')
  await t.rejects(migrate(openPool(t, url)), {
    message: /has schema 9999; this program knows up to/,
  })
})
