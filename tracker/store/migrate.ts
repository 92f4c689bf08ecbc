/** Brings the schema up to date. Migrations are numbered files, append-only, one transaction each. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isUniqueViolation, sqlState, type Db, type DbPool } from './db.ts'

// The .sql files stay in the source tree of the package; this file runs from dist/.
const directory = fileURLToPath(new URL('../../../tracker/migrations/', import.meta.url))

interface Migration {
  readonly number: number
  readonly sql: string
}

async function readMigrations(): Promise<Migration[]> {
  const names = (await readdir(directory)).filter(name => /^\d{4}_\w+\.sql$/.test(name)).sort()
  return Promise.all(
    names.map(async name => ({
      number: Number(name.slice(0, 4)),
      sql: await readFile(join(directory, name), 'utf8'),
    })),
  )
}

/**
 * Applies what is missing. Trackers that start together collide on the row that records a
 * migration: the loser waits for the winner's commit, sees the number taken and goes on.
 * Throws an Error when the database is newer than this program.
 */
export async function migrate(db: DbPool): Promise<void> {
  const migrations = await readMigrations()
  await createLedger(db)
  const { rows } = await db.query<{ number: number }>({ text: 'select number from migration' })
  const done = new Set(rows.map(row => row.number))
  const newest = Math.max(0, ...done)
  const known = migrations.at(-1)?.number ?? 0
  if (newest > known) {
    throw new Error(`the database has schema ${newest}; this program knows up to ${known}`)
  }
  for (const migration of migrations) {
    if (!done.has(migration.number)) await apply(db, migration)
  }
}

/** duplicate_table and duplicate_object. */
const alreadyThere = new Set(['42P07', '42710'])

async function createLedger(db: Db): Promise<void> {
  try {
    await db.query({
      text: `create table if not exists migration (
        number int primary key, applied_at timestamptz not null default now())`,
    })
  } catch (err) {
    // `if not exists` does not cover two sessions that create at the same moment: the later one
    // stumbles over the table's name, its row type's, or their catalog rows.
    if (!isUniqueViolation(err) && !alreadyThere.has(sqlState(err) ?? '')) throw err
  }
}

async function apply(db: DbPool, { number, sql }: Migration): Promise<void> {
  try {
    await db.transaction(async tx => {
      await tx.query({ text: 'insert into migration (number) values ($1)', values: [number] })
      await tx.query({ text: sql })
    })
  } catch (err) {
    if (!isUniqueViolation(err, 'migration_pkey')) throw err
  }
}
