/**
 * Files that are to be judged anew because something about many of them changed: their class, or a
 * device that was lost or came back. They are queued for replication in batches, in the order of their
 * fids; any tracker does the next step, and a crash costs a step at most.
 */
import type { Db } from './db.ts'
import type { FileId } from './files.ts'

/** Which files: those of a class, those on any of some devices, or all. */
export type Subject =
  | { readonly domainId: number; readonly classId: number }
  | { readonly devids: readonly number[] }
  | 'all'

/** Seconds after which every tracker knows of a change of the configuration. */
export const settledSeconds = 10

/**
 * Asks for a review, to begin in `seconds`; one of the same files that is under way is begun anew. To
 * be called in the transaction of the change.
 */
export async function requestReview(tx: Db, subject: Subject, seconds = 0): Promise<void> {
  const values =
    subject === 'all'
      ? [null, null, null]
      : 'devids' in subject
        ? [null, null, subject.devids.toSorted((a, b) => a - b)]
        : [subject.domainId, subject.classId, null]
  await tx.query({
    name: 'reviews.forget_same',
    text: `
      delete from review
      where domain_id is not distinct from $1 and class_id is not distinct from $2
        and devids is not distinct from $3::int[]`,
    values,
  })
  await tx.query({
    name: 'reviews.request',
    text: `
      insert into review (domain_id, class_id, devids, next_step)
      values ($1, $2, $3, now() + make_interval(secs => $4))`,
    values: [...values, seconds],
  })
}

/** Calls off the reviews that some devices of these alone have caused. */
export async function cancelReviews(tx: Db, devids: readonly number[]): Promise<void> {
  await tx.query({
    name: 'reviews.cancel',
    text: 'delete from review where devids <@ $1::int[]',
    values: [devids],
  })
}

export interface Review {
  id: number
  domainId: number | null
  classId: number | null
  devids: number[] | null
  round: number
  position: number
  /** Of the claim, for `advanceReview`. */
  lease: string
}

/** Claims one that is due for `leaseSeconds`. */
export async function claimReview(db: Db, leaseSeconds: number): Promise<Review | undefined> {
  const { rows: due } = await db.query<{ id: number }>({
    name: 'reviews.due',
    text: `
      select id from review where next_step <= now() and finished_at is null
      order by round, next_step limit 1`,
  })
  const { rows } = await db.query<Review>({
    name: 'reviews.claim',
    text: `
      update review set next_step = now() + make_interval(secs => $2)
      where id = $1 and next_step <= now() and finished_at is null
      returning id, domain_id as "domainId", class_id as "classId", devids, round, position,
        next_step::text as lease`,
    values: [due[0]?.id ?? null, leaseSeconds],
  })
  return rows[0]
}

export interface Reviewed extends FileId {
  domainId: number
  classId: number
  size: number
  devids: number[]
}

export interface Batch {
  readonly files: readonly Reviewed[]
  /** Fid of the last file that was looked at; undefined: there are no more. */
  readonly last: number | undefined
}

/** The next files of a review, out of the next `span` files of all, with those that can be had back. */
export async function listReviewed(
  db: Db,
  { domainId, classId, devids, position }: Review,
  span: number,
): Promise<Batch> {
  const { rows } = await db.query<Reviewed & { matches: boolean }>({
    // With the number in it the planner knows that it is few, and reads them in their order.
    name: `reviews.list_${span}`,
    text: `
      with part as (
        select fid, slot, domain_id as "domainId", class_id as "classId", size, devids from file
        where fid > $1
        union all
        select fid, slot, domain_id, class_id, size, devids from trash
        where fid > $1 and expires_at > now()
        order by fid limit ${span}
      ), chosen as (
        select *, true as matches from part
        where ("domainId" = $2 and "classId" = $3) or devids && $4::int[]
          or ($2::int is null and $4::int[] is null)
      )
      select * from chosen
      union all
      (select *, false from part order by fid desc limit 1)
      order by fid, matches`,
    values: [position, domainId, classId, devids],
  })
  return { files: rows.filter(({ matches }) => matches), last: rows.at(-1)?.fid }
}

/** A file to queue, with the number of copies of it that count. */
export interface Queued extends FileId {
  readonly copies: number
}

/**
 * Queues files and moves a claimed review on, in one statement; undefined as `position` ends its round.
 * False, and nothing is done, when the claim has run out or the review was begun anew.
 */
export async function advanceReview(
  db: Db,
  { id, lease, round, position }: Pick<Review, 'id' | 'lease' | 'round' | 'position'>,
  {
    files,
    last,
    patient = false,
  }: {
    readonly files: readonly Queued[]
    readonly last: number | undefined
    /** Work that is queued or under way already stays as it is, unless it has failed. */
    readonly patient?: boolean
  },
): Promise<boolean> {
  const ends = last === undefined
  const { rowCount } = await db.query({
    name: 'reviews.advance',
    text: `
      with advanced as (
        update review set next_step = now(), queued = queued + $6, round = $4, position = $5,
          finished_at = case when $7 then now() end
        where id = $1 and next_step = $2::timestamptz and next_step > now() and position = $3
        returning id
      ), jobs as (
        insert into replicate_job (fid, slot, next_try, changed_at, copies)
        select fid, slot, now(), now(), copies
        from advanced, unnest($8::bigint[], $9::smallint[], $10::smallint[]) as f (fid, slot, copies)
        on conflict (fid, slot) do update set
          next_try = case when $11 and replicate_job.last_error is null
            then replicate_job.next_try else least(replicate_job.next_try, excluded.next_try) end,
          changed_at = excluded.changed_at,
          copies = least(replicate_job.copies, excluded.copies)
      )
      select id from advanced`,
    values: [
      id,
      lease,
      position,
      ends ? Math.min(round + 1, lastRound) : round,
      ends ? 0 : last,
      files.length,
      ends && round === lastRound,
      files.map(({ fid }) => fid),
      files.map(({ slot }) => slot),
      files.map(({ copies }) => copies),
      patient,
    ],
  })
  return rowCount > 0
}

/** 1: files with one copy at most; 2: the others. */
export const lastRound = 2

/** Lets a claimed review rest for `seconds`. */
export async function restReview(
  db: Db,
  { id, lease }: Pick<Review, 'id' | 'lease'>,
  seconds: number,
): Promise<void> {
  await db.query({
    name: 'reviews.rest',
    text: `
      update review set next_step = now() + make_interval(secs => $3)
      where id = $1 and next_step = $2::timestamptz`,
    values: [id, lease, seconds],
  })
}

/** Forgets the reviews that ended more than `seconds` ago. */
export async function removeFinishedReviews(db: Db, seconds: number): Promise<void> {
  await db.query({
    name: 'reviews.remove_finished',
    text: 'delete from review where finished_at < now() - make_interval(secs => $1)',
    values: [seconds],
  })
}

/** How far the reviews under way and the work they have queued are. */
export interface ReviewProgress {
  /** Files queued by them that still wait. */
  waiting: number
  /** Files queued by them in all, as far as is remembered. */
  queued: number
  /** Files with one copy at most that they are expected to queue still. */
  expected: number
  /** Reviews that are not at their end. */
  pending: number
  /** Seconds since the first of them began; 0 when there is none. */
  seconds: number
}

export async function reviewProgress(db: Db): Promise<ReviewProgress> {
  const { rows } = await db.query<ReviewProgress>({
    name: 'reviews.progress',
    text: `
      with newest as (select coalesce(max(fid), 0) as fid from file),
      part as (
        select *, case when finished_at is not null then 1.0
            else least(1.0, position::float8 / greatest(1, newest.fid)) end as done
        from review, newest where next_step <= now() + interval '1 minute' or finished_at is not null
      )
      select
        (select count(*) from replicate_job where changed_at is not null) as waiting,
        coalesce(sum(queued), 0)::bigint as queued,
        coalesce(sum(case when finished_at is null and round = 1 and done > 0
          then queued / done - queued else 0 end), 0)::bigint as expected,
        count(*) filter (where finished_at is null) as pending,
        coalesce(extract(epoch from now() - min(requested_at)), 0)::float8 as seconds
      from part`,
  })
  return rows[0]!
}
