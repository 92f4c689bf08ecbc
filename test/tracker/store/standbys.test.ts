import pg from 'pg'
import t from 'tap'
import { openDb } from '../../../tracker/store/db.ts'
import { countStandbys } from '../../../tracker/store/standbys.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { until } from '../../helpers/until.ts'
import { openSql } from '../database.ts'

const { url } = await testDatabase(t)
const sql = await openSql(t, url)

t.test('a commit waits for the disk and for standbys, whatever the database says', async t => {
  await sql(`alter database "${new URL(url).pathname.slice(1)}" set synchronous_commit = 'off'`)
  for (const [lazy, setting] of [
    [false, 'on'],
    [true, 'off'],
  ] as const) {
    const db = openDb({ url, max: 1, lazy, onError: err => t.fail(err) })
    t.teardown(() => db.close())
    const { rows } = await db.query<{ value: string }>({
      text: `select current_setting('synchronous_commit') as value`,
    })
    t.strictSame(rows, [{ value: setting }])
  }
})

t.test('standbys are counted while they are connected, those that no commit waits for', async t => {
  const db = openDb({ url, max: 1, onError: err => t.fail(err) })
  t.teardown(() => db.close())
  const before = await countStandbys(db)
  const connect = async (name: string): Promise<pg.Client> => {
    const options = { connectionString: url, replication: 'true', application_name: name }
    const client = new pg.Client(options)
    await client.connect()
    return client
  }
  const standby = await connect('standby')
  const backup = await connect('pg_basebackup')
  const { count, asynchronous } = await countStandbys(db)
  t.strictSame([count - before.count, asynchronous - before.asynchronous], [1, 1])
  await Promise.all([standby.end(), backup.end()])
  await until('it is gone', async () => (await countStandbys(db)).count === before.count)
})
