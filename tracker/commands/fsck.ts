/** Fsck: looks at every file once, finds what is missing or wrong, and has it mended. */
import { hostname } from 'node:os'
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import {
  clearFindings,
  listFindings,
  readFsck,
  resetFsck,
  startFsck,
  stopFsck,
  type FsckLogRow,
  type FsckState,
} from '../store/fsck.ts'

type Database = Pick<Context, 'db'>

/** Whether it runs, how far it got, and what it found. */
export function fsckStatus({ db }: Database): Promise<FsckState> {
  return readFsck(db)
}

/** Goes on where it was, or over everything that is new. Throws fsck_running or rebal_running. */
export async function beginFsck(
  { db, wake }: Pick<Context, 'db' | 'wake'>,
  caller: Caller,
): Promise<void> {
  await db.transaction(async tx => {
    const running = await startFsck(tx, hostname())
    if (running === 'fsck') throw new CodedError('fsck_running', 'fsck is already running')
    if (running === 'rebalance') {
      throw new CodedError('rebal_running', 'rebalance running; cannot run fsck at same time')
    }
    await insertAudit(tx, caller, { action: 'fsck.start' })
  })
  wake('upkeep')
}

/** Queues no more files. No error when it does not run. */
export async function endFsck({ db }: Database, caller: Caller): Promise<void> {
  await db.transaction(async tx => {
    await stopFsck(tx)
    await insertAudit(tx, caller, { action: 'fsck.stop' })
  })
}

export interface FsckReset {
  /** Judge only the number and place of the copies. */
  readonly policyOnly: boolean
  /** Files up to this fid are left out. */
  readonly after: number
}

/** Goes back to the beginning, or to a place, with counts from zero. */
export async function rewindFsck(
  { db }: Database,
  { policyOnly, after }: FsckReset,
  caller: Caller,
): Promise<void> {
  await db.transaction(async tx => {
    await resetFsck(tx, { policyOnly, highestFid: after })
    await insertAudit(tx, caller, { action: 'fsck.reset', detail: { policyOnly, after } })
  })
}

/** What it found, oldest first. */
export function fsckLog(
  { db }: Database,
  range: { readonly after: number; readonly limit: number },
): Promise<FsckLogRow[]> {
  return listFindings(db, range)
}

/** Empties the log; the counts stay. */
export async function clearFsckLog({ db }: Database, caller: Caller): Promise<void> {
  await db.transaction(async tx => {
    await clearFindings(tx)
    await insertAudit(tx, caller, { action: 'fsck.clear_log' })
  })
}
