/** Ends uploads that nobody committed in time, and forgets the answers of those that were. */
import { abandonUpload, listExpiredUploads, removeFinishedUploads } from '../store/uploads.ts'
import type { Context } from '../cluster/context.ts'
import type { Worker } from './loop.ts'

const batch = 200

/** Seconds after an upload's end at which its last signed PUT URL is refused by every node. */
const lateSeconds = 120

export function createExpireWorker(ctx: Context): Worker {
  return {
    name: 'expire',
    restMs: 10_000,
    async pass() {
      const uploads = await listExpiredUploads(ctx.db, batch)
      await removeFinishedUploads(
        ctx.db,
        uploads.filter(upload => upload.committed),
      )
      for (const upload of uploads) {
        if (!upload.committed) await abandonUpload(ctx.db, upload, lateSeconds)
      }
      return uploads.length
    },
  }
}
