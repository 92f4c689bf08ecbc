/** How many files there are, counted a part at a time: no statement of a client is any slower for it. */
import type { Db } from './db.ts'

export interface Tally {
  /** 0: there is none. */
  readonly highestFid: number
  /** Files, and the bytes of one copy of each. */
  readonly classes: readonly ClassCount[]
  readonly devices: readonly DeviceCount[]
}

export interface ClassCount {
  readonly domainId: number
  readonly classId: number
  readonly copies: number
  readonly files: number
  readonly bytes: number
}

export interface DeviceCount {
  readonly devid: number
  readonly files: number
  readonly bytes: number
}

/** Files that are counted at once. */
const span = 20_000

/** Counts the next files behind the fid `after`. `ended`: there are no more. */
export async function countPart(
  db: Db,
  after: number,
): Promise<{ readonly part: Tally; readonly ended: boolean }> {
  const { rows } = await db.query<ClassCount & { devid: number | null; last: number }>({
    // With the number in it the planner knows that it is few, and reads them in their order.
    name: `tally.count_${span}`,
    text: `
      with part as (
        select fid, domain_id, class_id, size, devids from file
        where fid > $1 order by fid limit ${span}
      )
      select domain_id as "domainId", class_id as "classId", cardinality(devids) as copies,
        null::int as devid, count(*) as files, sum(size)::bigint as bytes, max(fid) as last
      from part group by domain_id, class_id, cardinality(devids)
      union all
      select 0, 0, 0, devid, count(*), sum(size)::bigint, max(fid)
      from part cross join unnest(devids) as devid group by devid`,
    values: [after],
  })
  const classes = rows.flatMap(({ devid, domainId, classId, copies, files, bytes }) =>
    devid === null ? [{ domainId, classId, copies, files, bytes }] : [],
  )
  const devices = rows.flatMap(({ devid, files, bytes }) =>
    devid === null ? [] : [{ devid, files, bytes }],
  )
  const highestFid = Math.max(0, ...rows.map(({ last }) => last))
  const files = classes.reduce((sum, row) => sum + row.files, 0)
  return { part: { highestFid, classes, devices }, ended: files < span }
}

/** The counts of both. */
export function addTallies(one: Tally, other: Tally): Tally {
  return {
    highestFid: Math.max(one.highestFid, other.highestFid),
    classes: addUp([...one.classes, ...other.classes], row =>
      [row.domainId, row.classId, row.copies].join(),
    ),
    devices: addUp([...one.devices, ...other.devices], ({ devid }) => String(devid)),
  }
}

function addUp<Count extends { readonly files: number; readonly bytes: number }>(
  counts: readonly Count[],
  keyOf: (count: Count) => string,
): Count[] {
  const sums = new Map<string, Count>()
  for (const count of counts) {
    const sum = sums.get(keyOf(count)) ?? { files: 0, bytes: 0 }
    const [files, bytes] = [sum.files + count.files, sum.bytes + count.bytes]
    sums.set(keyOf(count), { ...count, files, bytes })
  }
  return [...sums.values()]
}

/** The moment at which a count begins, or undefined while the last one ended less than `seconds` ago. */
export async function beginTally(db: Db, seconds: number): Promise<string | undefined> {
  const { rows } = await db.query<{ at: string }>({
    name: 'tally.begin',
    text: `
      select now()::text as at
      where not exists (select from tally where ended_at > now() - make_interval(secs => $1))`,
    values: [seconds],
  })
  return rows[0]?.at
}

/** Keeps a count that is over, unless there is one that began later. */
export async function writeTally(db: Db, begunAt: string, counts: Tally): Promise<void> {
  await db.query({
    name: 'tally.write',
    text: `
      insert into tally (id, begun_at, ended_at, counts) values (1, $1::timestamptz, now(), $2)
      on conflict (id) do update set
        begun_at = excluded.begun_at, ended_at = excluded.ended_at, counts = excluded.counts
      where tally.begun_at < excluded.begun_at`,
    values: [begunAt, counts],
  })
}

/** The last count that is over, with when it began; undefined: there was none yet. */
export async function readTally(db: Db): Promise<{ begunAt: Date; counts: Tally } | undefined> {
  const { rows } = await db.query<{ begunAt: Date; counts: Tally }>({
    name: 'tally.read',
    text: 'select begun_at as "begunAt", counts from tally',
  })
  return rows[0]
}
