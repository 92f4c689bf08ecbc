/** What trackers have seen of devices, for each other, and which devices are treated as lost. */
import type { Db } from './db.ts'

/** What one look at a device told. */
export interface Seen {
  readonly devid: number
  readonly state: 'writeable' | 'readable' | 'unreachable' | 'unknown'
  readonly hostState: 'reachable' | 'unreachable' | 'unknown'
  readonly totalBytes: number | null
  readonly usedBytes: number | null
  /** Percent of the time that the disk is busy; null: not told. */
  readonly utilization: number | null
  /** How far the node's clock is ahead; null: about right, or not told. */
  readonly skewSeconds: number | null
  /** The node refuses what is not as its Content-MD5 says; null: not seen. */
  readonly rejectsBadMd5: boolean | null
  /** Why it is not as it should be, as a sentence; null: it is, or nobody told. */
  readonly why: string | null
}

export interface Observation extends Seen {
  /** Seconds since it was seen by the one who looks at all of them. */
  readonly ageSeconds: number
  /** Seconds for which nobody has been able to read it; null: somebody can. */
  readonly awaySeconds: number | null
}

/** Seconds without a look after which nobody knows how long a device has been away. */
const unwatchedSeconds = 60

/**
 * Notes what was seen, for all trackers. Returns the devices that could not be reached the time before
 * either, and that somebody else has reached since.
 */
export async function putObservations(db: Db, seen: readonly Seen[]): Promise<number[]> {
  const { rows } = await db.query<{ devid: number }>({
    name: 'observations.put',
    text: `
      with vouched as (
        select devid from observation where state = 'unreachable' and away_since is null
      ), noted as (
        insert into observation (devid, seen_at, away_since, state, host_state, total_bytes, used_bytes,
          utilization, skew_seconds, rejects_bad_md5, why)
        select devid, now(), case when state in ('writeable', 'readable') then null else now() end,
          state, host_state, total_bytes, used_bytes, utilization, skew_seconds, rejects_bad_md5, why
        from unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::real[], $7::int[],
            $9::boolean[], $10::text[])
          as seen (devid, state, host_state, total_bytes, used_bytes, utilization, skew_seconds,
            rejects_bad_md5, why)
        on conflict (devid) do update set
          seen_at = excluded.seen_at,
          away_since = case
            when excluded.away_since is null then null
            when observation.seen_at < now() - make_interval(secs => $8) then now()
            else coalesce(observation.away_since, now())
          end,
          state = excluded.state,
          host_state = excluded.host_state,
          total_bytes = coalesce(excluded.total_bytes, observation.total_bytes),
          used_bytes = coalesce(excluded.used_bytes, observation.used_bytes),
          utilization = excluded.utilization,
          skew_seconds = excluded.skew_seconds,
          rejects_bad_md5 = excluded.rejects_bad_md5,
          why = excluded.why
      )
      select devid from vouched`,
    values: [
      seen.map(({ devid }) => devid),
      seen.map(({ state }) => state),
      seen.map(({ hostState }) => hostState),
      seen.map(({ totalBytes }) => totalBytes),
      seen.map(({ usedBytes }) => usedBytes),
      seen.map(({ utilization }) => utilization),
      seen.map(({ skewSeconds }) => skewSeconds),
      unwatchedSeconds,
      seen.map(({ rejectsBadMd5 }) => rejectsBadMd5),
      seen.map(({ why }) => why),
    ],
  })
  return rows.map(({ devid }) => devid)
}

/** What was last seen of every device. */
export async function listObservations(db: Db): Promise<Observation[]> {
  const { rows } = await db.query<Observation>({
    name: 'observations.list',
    text: `
      select devid, state, host_state as "hostState", total_bytes as "totalBytes",
        used_bytes as "usedBytes", utilization, skew_seconds as "skewSeconds", rejects_bad_md5 as "rejectsBadMd5",
        why,
        extract(epoch from now() - seen_at)::float8 as "ageSeconds",
        extract(epoch from now() - away_since)::float8 as "awaySeconds"
      from observation`,
  })
  return rows
}

/** Notes that somebody can read devices which the one who looks at all of them cannot. */
export async function vouchFor(db: Db, devids: readonly number[]): Promise<void> {
  await db.query({
    name: 'observations.vouch',
    text: 'update observation set away_since = null where devid = any($1::int[])',
    values: [devids],
  })
}

/** Begins to treat devices as lost, or ends it. Those for which that changes something. */
export async function setLost(tx: Db, devids: readonly number[], lost: boolean): Promise<number[]> {
  const { rows } = await tx.query<{ devid: number }>({
    name: 'observations.set_lost',
    text: `
      update device set lost_at = case when $2 then now() end
      where id = any($1::int[]) and (lost_at is null) = $2
      returning id as devid`,
    values: [devids, lost],
  })
  return rows.map(({ devid }) => devid)
}

/** The database's clock, in seconds since 1970, with its fraction. */
export async function databaseSeconds(db: Db): Promise<number> {
  const { rows } = await db.query<{ now: number }>({
    name: 'observations.now',
    text: 'select extract(epoch from clock_timestamp())::float8 as now',
  })
  return rows[0]!.now
}
