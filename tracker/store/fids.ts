/**
 * File numbers. A tracker takes a block of them from a counter row in a flushed commit, so that an
 * upload costs no sequence call and no number is ever handed out twice; what a tracker does not use
 * of its block when it ends is lost.
 */
import type { Db } from './db.ts'

const blockSize = 1000

export interface FidAllocator {
  /** A number that was never used. */
  next(): Promise<number>
  /**
   * Claims a number that a client chose; false when it is, or may have been, in use, also by another
   * tracker: all numbers of its block belong to it.
   */
  claim(fid: number): Promise<boolean>
}

/** Creates an allocator; it takes its first block when first asked. */
export function createFidAllocator(db: Db): FidAllocator {
  let free: number[] = []
  let taking: Promise<void> | undefined

  const take = async (): Promise<void> => {
    free = (await takeBlock(db)).reverse()
  }
  return {
    async next() {
      for (;;) {
        const fid = free.pop()
        if (fid !== undefined) return fid
        taking ??= take().finally(() => {
          taking = undefined
        })
        await taking
      }
    },
    async claim(fid) {
      await taking?.catch(() => {})
      const at = free.indexOf(fid)
      if (at === -1) return claimFid(db, fid)
      free.splice(at, 1)
      return true
    },
  }
}

async function takeBlock(db: Db): Promise<number[]> {
  const { rows } = await db.query<{ first: number }>({
    name: 'fids.take_block',
    text: `update fid_counter set next = next + $1 where id = 1 returning next - $1 as first`,
    values: [blockSize],
  })
  const first = rows[0]!.first
  const explicit = await db.query<{ fid: number }>({
    name: 'fids.explicit_in_block',
    text: 'select fid from explicit_fid where fid >= $1 and fid < $1 + $2',
    values: [first, blockSize],
  })
  const used = new Set(explicit.rows.map(row => row.fid))
  return Array.from({ length: blockSize }, (_, i) => first + i).filter(fid => !used.has(fid))
}

/**
 * Claims a number beyond the counter: those below belong to some tracker's block. The shared lock
 * makes a block that is being taken see the claim, or the claim see the block.
 */
async function claimFid(db: Db, fid: number): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'fids.claim',
    text: `
      insert into explicit_fid (fid)
      select $1 from fid_counter where id = 1 and next <= $1 for share
      on conflict do nothing`,
    values: [fid],
  })
  return rowCount > 0
}
