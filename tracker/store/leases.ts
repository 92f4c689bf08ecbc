/** Which tracker does what only one should do at a time: pacing, where twice would do no harm. */
import type { Db } from './db.ts'

export interface Lease {
  readonly name: string
  /** Who wants it; no two trackers have the same. */
  readonly holder: string
}

/**
 * Takes a lease for `seconds`, or goes on with one that is held already. False while somebody else
 * has it. A holder that dies needs no cleaning up after: the lease runs out.
 */
export async function takeLease(
  db: Db,
  { name, holder }: Lease,
  seconds: number,
): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'leases.take',
    text: `
      insert into lease (name, holder, expires_at)
      values ($1, $2, now() + make_interval(secs => $3))
      on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at
      where lease.holder = excluded.holder or lease.expires_at <= now()`,
    values: [name, holder, seconds],
  })
  return rowCount > 0
}
