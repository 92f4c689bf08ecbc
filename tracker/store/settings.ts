/** Cluster-wide settings: names and texts. */
import type { Db } from './db.ts'

export async function listSettings(db: Db): Promise<{ name: string; value: string }[]> {
  const { rows } = await db.query<{ name: string; value: string }>({
    name: 'settings.list',
    text: 'select name, value from setting order by name',
  })
  return rows
}

/** The database's clock, as its text. */
export async function readClock(db: Db): Promise<string> {
  const { rows } = await db.query<{ now: string }>({
    name: 'settings.clock',
    text: 'select clock_timestamp()::text as now',
  })
  return rows[0]!.now
}

export async function putSetting(db: Db, name: string, value: string): Promise<void> {
  await db.query({
    name: 'settings.put',
    text: `
      insert into setting (name, value) values ($1, $2)
      on conflict (name) do update set value = excluded.value`,
    values: [name, value],
  })
}

export async function removeSetting(db: Db, name: string): Promise<void> {
  await db.query({
    name: 'settings.remove',
    text: 'delete from setting where name = $1',
    values: [name],
  })
}

/** Adds 1 to a setting that counts; anything else than a number counts as 0. */
export async function incrementSetting(db: Db, name: string): Promise<void> {
  await db.query({
    name: 'settings.increment',
    text: `
      insert into setting (name, value) values ($1, '1')
      on conflict (name) do update set
        value = (coalesce(substring(setting.value from '^\\d{1,15}$')::bigint, 0) + 1)::text`,
    values: [name],
  })
}
