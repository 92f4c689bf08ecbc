/** A database for each test, on one Postgres for the whole run. */
import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import root, { type Test } from 'tap'
import { migrate } from '../../tracker/store/migrate.ts'
import { openDb } from '../../tracker/store/db.ts'
import { startTestServer, type TestServer } from './test-server.ts'

const migrations = fileURLToPath(new URL('../../../tracker/migrations/', import.meta.url))

/**
 * Creates a migrated database, which is dropped when `t` ends. It is on the server of `DATABASE_URL`, whose
 * user must be allowed to create databases; else on that of the test run (`OMG_TEST_DATABASE_URL`); else,
 * when a test file runs by itself, on a server of its own.
 */
export async function testDatabase(t: Pick<Test, 'teardown'>): Promise<{ url: string }> {
  const server = await serverUrl()
  const template = await findTemplate(server)
  const name = `omg_test_${randomBytes(8).toString('hex')}`
  await execute(server, `create database ${name} template ${template}`)
  t.teardown(() => execute(server, `drop database if exists ${name} with (force)`))
  return { url: withDatabase(server, name) }
}

let own: Promise<TestServer> | undefined

async function serverUrl(): Promise<string> {
  const given = process.env['DATABASE_URL'] ?? process.env['OMG_TEST_DATABASE_URL']
  if (given) return given
  if (!own) {
    const starting = startTestServer()
    own = starting
    root.teardown(async () => (await starting).close())
  }
  return (await own).url
}

let template: Promise<string> | undefined

/** The name of a migrated database, which the others are copies of. The first test that needs it creates it. */
function findTemplate(server: string): Promise<string> {
  template ??= makeTemplate(server)
  return template
}

async function makeTemplate(server: string): Promise<string> {
  const name = `omg_template_${await migrationsHash()}`
  await withClient(server, async client => {
    // Several test files come here at the same time. The lock ends with this session.
    await client.query('select pg_advisory_lock(hashtext($1))', [name])
    const { rowCount } = await client.query('select from pg_database where datname = $1', [name])
    if (rowCount) return
    // It gets its final name only when it is complete.
    const draft = `${name}_draft`
    await client.query(`drop database if exists ${draft} with (force)`)
    await client.query(`create database ${draft}`)
    await migrateDatabase(withDatabase(server, draft))
    await client.query(`alter database ${draft} rename to ${name}`)
  })
  return name
}

async function migrationsHash(): Promise<string> {
  const hash = createHash('sha256')
  for (const name of (await readdir(migrations)).sort()) {
    hash.update(`${name}\n`).update(await readFile(join(migrations, name)))
  }
  return hash.digest('hex').slice(0, 16)
}

async function migrateDatabase(url: string): Promise<void> {
  const onError = (err: Error): never => {
    throw err
  }
  const db = openDb({ url, max: 1, onError })
  try {
    await migrate(db)
  } finally {
    await db.close()
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.href
}

async function execute(url: string, sql: string): Promise<void> {
  await withClient(url, client => client.query(sql))
}

async function withClient(url: string, work: (client: pg.Client) => Promise<unknown>) {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await work(client)
  } finally {
    await client.end()
  }
}
