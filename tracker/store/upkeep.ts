/**
 * The state of fsck and rebalance: rows of `setting`, so that every tracker and every operator's tool
 * sees them under MogileFS's names (`fsck_…`, `rebal_…`). Rows that do not exist cannot be locked, so
 * whoever changes them holds the lock of the one row of `upkeep` until his transaction ends. That is
 * also what keeps the two from running at once.
 */
import type { Db } from './db.ts'

/** Waits for the lock, and holds it until the transaction `tx` ends. */
export async function lockUpkeep(tx: Db): Promise<void> {
  await tx.query({ name: 'upkeep.lock', text: 'select from upkeep where id = 1 for update' })
}

/** The rows of both. */
export class UpkeepSettings {
  readonly #values: ReadonlyMap<string, string>

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values
  }

  /** Undefined when it is unset or empty. */
  text(name: string): string | undefined {
    return this.#values.get(name) || undefined
  }

  /** 0 when it is unset or no number. */
  number(name: string): number {
    return Number(this.#values.get(name) ?? 0) || 0
  }

  /** What follows `prefix` in a name, with the value. */
  under(prefix: string): [rest: string, value: string][] {
    return [...this.#values].flatMap(([name, value]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), value]] : [],
    )
  }
}

/** What is stored now. */
export async function readUpkeep(db: Db): Promise<UpkeepSettings> {
  const { rows } = await db.query<{ name: string; value: string }>({
    name: 'upkeep.read',
    text: `
      select name, value from setting
      where starts_with(name, 'fsck_') or starts_with(name, 'rebal_')
      order by name`,
  })
  return new UpkeepSettings(new Map(rows.map(({ name, value }) => [name, value])))
}

/** Writes settings; undefined takes one away. */
export async function writeUpkeep(
  tx: Db,
  changes: Readonly<Record<string, string | number | undefined>>,
): Promise<void> {
  const entries = Object.entries(changes)
  const kept = entries.filter(([, value]) => value !== undefined)
  await tx.query({
    name: 'upkeep.remove',
    text: 'delete from setting where name = any($1)',
    values: [entries.flatMap(([name, value]) => (value === undefined ? [name] : []))],
  })
  await tx.query({
    name: 'upkeep.put',
    text: `
      insert into setting (name, value) select * from unnest($1::text[], $2::text[])
      on conflict (name) do update set value = excluded.value`,
    values: [kept.map(([name]) => name), kept.map(([, value]) => String(value))],
  })
}

/** Seconds since 1970 by the database's clock. */
export async function databaseTime(db: Db): Promise<number> {
  const { rows } = await db.query<{ now: number }>({
    name: 'upkeep.time',
    text: 'select floor(extract(epoch from clock_timestamp()))::bigint as now',
  })
  return rows[0]!.now
}
