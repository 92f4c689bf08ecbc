import pg from 'pg'
import t from 'tap'
import { testDatabase } from './postgres.ts'

async function rows(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows.flat()
  } finally {
    await client.end()
  }
}

t.test('each test has a migrated database of its own, dropped at its end', async t => {
  const [outer, other] = await Promise.all([testDatabase(t), testDatabase(t)])
  t.not(outer.url, other.url)
  await rows(outer.url, 'create table only_here ()')
  t.strictSame(await rows(other.url, `select to_regclass('only_here')`), [null])
  t.not((await rows(other.url, 'select max(number) from migration'))[0], null)

  let inner = ''
  await t.test('a subtest', async t => {
    inner = new URL((await testDatabase(t)).url).pathname.slice(1)
  })
  const sql = `select datname::text from pg_database where datname = '${inner}'`
  t.strictSame(await rows(outer.url, sql), [])
})
