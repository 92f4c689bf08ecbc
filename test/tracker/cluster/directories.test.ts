import t from 'tap'
import { startCluster } from '../../helpers/cluster.ts'
import { createReplicaUrls } from '../../../tracker/cluster/urls.ts'
import { ClusterState } from '../../../tracker/cluster/state.ts'
import { Directories } from '../../../tracker/cluster/directories.ts'
import { createStorageClient } from '../../../client/storage.ts'
import { openPool } from '../store/store.ts'

t.test('a node of ours is asked for a directory once, and says that it needs none', async t => {
  const cluster = await startCluster(t, { hosts: 1, devices: 2 })
  const state = new ClusterState(openPool(t, cluster.databaseUrl))
  await state.refresh()
  const storage = createStorageClient()
  t.teardown(() => storage.close())
  const statuses: number[] = []
  const directories = new Directories({
    cluster: state,
    urls: createReplicaUrls(state, { secrets: [cluster.secret], open: false }),
    storage: {
      async makeDirectory(url, options) {
        const status = await storage.makeDirectory(url, options)
        statuses.push(status)
        return status
      },
    },
  })
  await directories.forReplica(1, [1])
  t.strictSame(statuses, [400])
  await directories.forReplica(1_000_000, [1, 2])
  t.strictSame(statuses, [400], 'nor for another device of its host')
  await directories.forReplica(1, [4711])
  t.strictSame(statuses, [400], 'a device that is not configured has none')
})
