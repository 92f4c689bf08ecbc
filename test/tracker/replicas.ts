/** What of a file is on disk, wherever the database says it is. */
import { fidPath } from '../../common/layout.ts'
import type { Cluster } from '../helpers/cluster.ts'

/** Paths of a content's replicas below the nodes' roots: `dev1/0/000/000/0000000001.fid`. */
export async function replicasOf(cluster: Cluster, fid: number): Promise<string[]> {
  return (await cluster.replicas()).filter(path => path.endsWith(`/${fidPath(fid)}`))
}
