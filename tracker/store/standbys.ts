/** The standbys of the database: copies of it that follow, one of which may take its place. */
import type { Db } from './db.ts'

export interface Standbys {
  readonly count: number
  /** Of them, those that a commit does not wait for: were one to take over, the last commits would be lost. */
  readonly asynchronous: number
}

/**
 * Counts those that are connected now. To a role that may not see what each of them is, all count as
 * what `synchronous_standby_names` makes of them.
 */
export async function countStandbys(db: Db): Promise<Standbys> {
  const { rows } = await db.query<Standbys>({
    name: 'standbys.count',
    text: `
      select count(*) as count,
        count(*) filter (where case when sync_state is null
          then current_setting('synchronous_standby_names') = ''
          else sync_state = 'async' end) as asynchronous
      from pg_stat_replication as standby
      where coalesce(application_name, '') not in ('pg_basebackup', 'pg_receivewal')
        and not exists (select from pg_replication_slots as slot
          where slot.active_pid = standby.pid and slot_type = 'logical')`,
  })
  return rows[0]!
}
