/** How far fsck got, what it found, and what it is to look at next. */
import { newestFid } from './checks.ts'
import type { Db } from './db.ts'
import type { FileId } from './files.ts'
import { databaseTime, lockUpkeep, readUpkeep, writeUpkeep, type UpkeepSettings } from './upkeep.ts'

/** Times are Unix times by the database's clock; 0: not yet. */
export interface FsckState {
  /** The tracker that started it; undefined: it does not run. */
  readonly host: string | undefined
  /** Only the number and place of the copies is judged, no copy is looked at. */
  readonly policyOnly: boolean
  /** Files up to this one have been queued. */
  readonly highestFid: number
  /** The last one to look at. */
  readonly endFid: number
  /** How many were queued since the start. */
  readonly queued: number
  readonly startTime: number
  readonly stopTime: number
  readonly currentTime: number
  readonly maxLogid: number
  /** How often each event was seen since the start or reset. */
  readonly counts: ReadonlyMap<string, number>
}

const countPrefix = 'fsck_sum_evcount_'

export async function readFsck(db: Db): Promise<FsckState> {
  const settings = await readUpkeep(db)
  const { rows } = await db.query<{ maxLogid: number }>({
    name: 'fsck.max_logid',
    text: 'select coalesce(max(logid), 0) as "maxLogid" from fsck_log',
  })
  return {
    host: settings.text('fsck_host'),
    policyOnly: settings.number('fsck_opt_policy_only') === 1,
    highestFid: settings.number('fsck_highest_fid_checked'),
    endFid: settings.number('fsck_fid_at_end'),
    queued: settings.number('fsck_fids_checked'),
    startTime: settings.number('fsck_start_time'),
    stopTime: settings.number('fsck_stop_time'),
    currentTime: await databaseTime(db),
    maxLogid: rows[0]!.maxLogid,
    counts: new Map(settings.under(countPrefix).map(([event, count]) => [event, Number(count)])),
  }
}

/**
 * Starts it, unless one of the two runs, and tells what ran. It goes on where it was, up to the same
 * end; when the end was reached, or there never was one, up to the newest file of now, with counts
 * from zero.
 */
export async function startFsck(tx: Db, host: string): Promise<'nothing' | 'fsck' | 'rebalance'> {
  await lockUpkeep(tx)
  const settings = await readUpkeep(tx)
  if (settings.text('fsck_host')) return 'fsck'
  if (settings.text('rebal_host')) return 'rebalance'
  const reachedEnd =
    settings.number('fsck_highest_fid_checked') >= settings.number('fsck_fid_at_end')
  await writeUpkeep(tx, {
    ...(reachedEnd ? await freshRun(tx, settings) : {}),
    fsck_start_time: await databaseTime(tx),
    fsck_stop_time: undefined,
    fsck_fids_checked: 0,
    fsck_host: host,
  })
  return 'nothing'
}

/** Stops it where it is. What is queued is still looked at. */
export async function stopFsck(tx: Db): Promise<void> {
  await lockUpkeep(tx)
  await writeUpkeep(tx, { fsck_host: undefined, fsck_stop_time: await databaseTime(tx) })
}

/** Goes back to `highestFid` with counts from zero, and up to the newest file of now. */
export async function resetFsck(
  tx: Db,
  { policyOnly, highestFid }: Pick<FsckState, 'policyOnly' | 'highestFid'>,
): Promise<void> {
  await lockUpkeep(tx)
  const settings = await readUpkeep(tx)
  await writeUpkeep(tx, {
    ...(await freshRun(tx, settings)),
    fsck_opt_policy_only: policyOnly ? 1 : undefined,
    fsck_highest_fid_checked: highestFid,
    fsck_start_time: settings.text('fsck_host') && (await databaseTime(tx)),
    fsck_stop_time: undefined,
    fsck_fids_checked: 0,
  })
}

async function freshRun(
  tx: Db,
  settings: UpkeepSettings,
): Promise<Record<string, number | undefined>> {
  const { rows } = await tx.query<{ fid: number }>({
    name: 'fsck.max_fid',
    text: `select ${newestFid} as fid`,
  })
  const counts = settings.under(countPrefix).map(([event]) => [countPrefix + event, undefined])
  return { ...Object.fromEntries(counts), fsck_fid_at_end: rows[0]!.fid }
}

/**
 * Queues the next files while it runs: at most `rate` of them, and until `size` wait. Returns how
 * many; 0 also when none was left, which ends the run. To be called again and again, by any tracker.
 */
export async function queueChecks(
  tx: Db,
  { rate, size }: { readonly rate: number; readonly size: number },
): Promise<number> {
  await lockUpkeep(tx)
  const settings = await readUpkeep(tx)
  if (!settings.text('fsck_host')) return 0
  const room = size - (await countChecks(tx, size))
  if (room <= 0 || rate <= 0) return 0
  const highest = settings.number('fsck_highest_fid_checked')
  const end = settings.number('fsck_fid_at_end')
  const { rows: files } = await tx.query<FileId>({
    name: 'fsck.next_files',
    text: `
      (select fid, slot from file where fid > $1 and fid <= $2 order by fid limit $3)
      union all
      (select fid, slot from trash where fid > $1 and fid <= $2 order by fid limit $3)
      order by fid limit $3`,
    values: [highest, end, Math.min(rate, room)],
  })
  const last = files.at(-1)
  if (!last) {
    await writeUpkeep(tx, {
      // Or the next start would take files that were deleted meanwhile for some that are left.
      fsck_highest_fid_checked: Math.max(highest, end),
      fsck_host: undefined,
      fsck_stop_time: await databaseTime(tx),
    })
    return 0
  }
  await tx.query({
    name: 'fsck.queue',
    text: `
      insert into check_job (fid, slot, next_try)
      select *, now() from unnest($1::bigint[], $2::smallint[])
      on conflict (fid, slot) do nothing`,
    values: [files.map(({ fid }) => fid), files.map(({ slot }) => slot)],
  })
  await writeUpkeep(tx, {
    fsck_highest_fid_checked: last.fid,
    fsck_fids_checked: settings.number('fsck_fids_checked') + files.length,
  })
  return files.length
}

/** How many files wait for their check; counts no further than `atMost`. */
async function countChecks(db: Db, atMost: number): Promise<number> {
  const { rows } = await db.query<{ count: number }>({
    name: 'fsck.count_checks',
    text: 'select count(*) as count from (select from check_job limit $1) as part',
    values: [atMost],
  })
  return rows[0]!.count
}

/** MogileFS's codes: what fsck found, and what it did. */
export type FsckEvent =
  | 'NOPA' // no known copies
  | 'POVI' // number or place of the copies is not what the class asks for
  | 'MISS' // a copy is not there
  | 'BLEN' // a copy has another length
  | 'SRCH' // every device is searched
  | 'FOND' // a copy was found there
  | 'GONE' // none was found
  | 'REPL' // replication was queued
  | 'BCNT' // the count of copies was corrected
  | 'NSUM' // a checksum was missing and is stored
  | 'BSUM' // another checksum than the stored one
  | 'MSUM' // copies have different checksums, and none is stored
  | 'BALG' // the checksum is stored in another algorithm

export interface FsckFinding extends FileId {
  readonly event: FsckEvent
  readonly devid?: number
}

/**
 * Logs findings and counts them. Belongs to the end of the transaction that acts on them: until that
 * commits, nobody else logs, starts or stops.
 */
export async function insertFindings(tx: Db, findings: readonly FsckFinding[]): Promise<void> {
  if (findings.length === 0) return
  const { rows } = await tx.query<{ last: number }>({
    name: 'fsck.number_findings',
    text: 'update upkeep set last_logid = last_logid + $1 where id = 1 returning last_logid as last',
    values: [findings.length],
  })
  const first = rows[0]!.last - findings.length + 1
  await tx.query({
    name: 'fsck.insert_findings',
    text: `
      insert into fsck_log (logid, fid, slot, event, devid)
      select * from unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::int[])`,
    values: [
      findings.map((_, i) => first + i),
      findings.map(({ fid }) => fid),
      findings.map(({ slot }) => slot),
      findings.map(({ event }) => event),
      findings.map(({ devid }) => devid ?? null),
    ],
  })
  await tx.query({
    name: 'fsck.count_findings',
    text: `
      insert into setting (name, value)
      select $1 || event, count(*)::text from unnest($2::text[]) as event group by event
      on conflict (name) do update
        set value = (setting.value::bigint + excluded.value::bigint)::text`,
    values: [countPrefix, findings.map(({ event }) => event)],
  })
}

export interface FsckLogRow {
  readonly logid: number
  /** Unix time. */
  readonly at: number
  readonly fid: number
  readonly event: string
  readonly devid: number | null
}

/** The log behind `after`, oldest first. */
export async function listFindings(
  db: Db,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<FsckLogRow[]> {
  const { rows } = await db.query<FsckLogRow>({
    name: 'fsck.list_findings',
    text: `
      select logid, floor(extract(epoch from at))::bigint as at, fid, event, devid
      from fsck_log where logid > $1 order by logid limit $2`,
    values: [after, limit],
  })
  return rows
}

/** Empties the log. The counts stay, and numbers are not used again. */
export async function clearFindings(tx: Db): Promise<void> {
  await tx.query({ text: 'truncate fsck_log' })
}
