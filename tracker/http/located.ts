/** A file with the signed URLs of its replicas, as JSON shows it. */
import type { Located } from '../../common/protocol/files.ts'
import type { Context } from '../cluster/context.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import { holdersOf, preferReadable } from '../commands/files.ts'
import type { FileRow } from '../store/files.ts'
import { fileToJson } from './json.ts'

/** Best replica first. */
export function locatedToJson(ctx: Context, file: FileRow): Located {
  const seconds = numberSetting(ctx.cluster.snapshot, 'get_url_seconds')
  const urls = preferReadable(holdersOf(ctx, file)).flatMap(({ devid }) => {
    const replica = { devid, fid: file.fid }
    return ctx.urls.replica(replica, { method: 'GET', seconds, forClient: true }) ?? []
  })
  const expiresAt = new Date(Date.now() + seconds * 1000).toISOString()
  return { ...fileToJson(ctx, file), urls, expiresAt }
}
