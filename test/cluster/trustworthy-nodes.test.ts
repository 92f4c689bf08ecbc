/** What people are told, and what they are spared, when a storage node is not to be trusted. */
import { createHash } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { createStorageClient } from '../../client/storage.ts'
import type { ClusterStatus } from '../../common/protocol/status.ts'
import { replicaPath } from '../../common/layout.ts'
import { createLogger } from '../../common/log.ts'
import { hostKeys, hostSecret, signGrant } from '../../common/signing.ts'
import { createStorageNode } from '../../storage-node/index.ts'
import { runInside } from '../client/cli/omg.ts'
import { startCluster, type Cluster, type Node } from '../helpers/cluster.ts'
import { until } from '../helpers/until.ts'

const text = 'what should be there'

function nodeOf({ nodes }: Cluster, devid: number): Node {
  const node = nodes.find(({ devids }) => devids.includes(devid))
  if (!node) throw new Error(`no node has dev${devid}`)
  return node
}

/** Changes one byte of a replica on its disk. */
async function flip(cluster: Cluster, replica: { devid: number; fid: number }): Promise<void> {
  const file = join(nodeOf(cluster, replica.devid).root, replicaPath(replica))
  const bytes = await readFile(file)
  bytes[3] = (bytes[3] ?? 0) ^ 1
  await writeFile(file, bytes)
}

t.test('a flipped byte is found, and never served as good', async t => {
  const cluster = await startCluster(t, { hosts: 3 })
  const { api, client, secret } = cluster
  await client.put('key', text, { durability: 'everywhere' })
  await client.put('hopeless', text, { durability: 'everywhere' })
  const { fid, devids, sha256 } = await api.stat({ domain: 'test', key: 'key' })
  const devid = devids[0] ?? 0
  const node = nodeOf(cluster, devid)
  const token = signGrant(
    hostKeys(hostSecret(secret, node.name)),
    { method: 'GET', devid, object: String(fid) },
    Math.floor(Date.now() / 1000) + 600,
  )
  const url = `http://${node.service.listening()['http']}${replicaPath({ devid, fid })}?${token}`
  const storage = createStorageClient()
  t.teardown(() => storage.close())
  const digest = async () => (await storage.digest(url, ['sha256']))?.digest.sha256
  t.equal(await digest(), sha256)

  await flip(cluster, { devid, fid })
  t.not(await digest(), sha256, 'the digest request tells')
  for (let i = 0; i < 8; i++) {
    t.equal(await (await client.get('key')).text(), text, 'readers get what they should')
  }
  const hopeless = await api.stat({ domain: 'test', key: 'hopeless' })
  for (const of of hopeless.devids) await flip(cluster, { devid: of, fid: hopeless.fid })
  const read = async (): Promise<string> => (await client.get('hopeless')).text()
  await t.rejects(read(), { code: /^(checksum_mismatch|no_replica)$/ }, 'or an error')

  const { id } = await api.startScrub()
  const scrub = await until('all is read', async () =>
    (await api.listScrubs()).find(one => one.id === id && one.finishedAt !== undefined),
  )
  t.ok(scrub.bad >= 1, 'the scrub tells, where no reader was faster')
  await cluster.settled()
  await until('there are two good copies', async () => {
    const bodies = await Promise.all(
      (await api.stat({ domain: 'test', key: 'key' })).devids.map(of =>
        readFile(join(nodeOf(cluster, of).root, replicaPath({ devid: of, fid })), 'utf8').catch(
          () => '',
        ),
      ),
    )
    return bodies.length === 2 && bodies.every(body => body === text)
  })
  const served = await fetch(url)
  const body = await served.text()
  t.ok(served.status === 404 || body === text, `${served.status}: not the flipped byte`)
  const [aside] = await readdir(join(node.root, `dev${devid}`, 'quarantine'))
  t.match(aside, /^\d{10}\.fid\.\d+$/, 'it is kept for a person to look at')
  t.not(
    createHash('sha256')
      .update(await readFile(join(node.root, `dev${devid}`, 'quarantine', aside ?? '')))
      .digest('hex'),
    sha256,
  )
  await t.rejects(read(), { code: /^(checksum_mismatch|no_replica)$/ }, 'without a good one still')
  t.match(await api.listDamage(), [{ fid: hopeless.fid, key: 'hopeless' }])
})

t.test('status tells of nodes that do not flush what they store', async t => {
  const cluster = await startCluster(t, { hosts: 2 })
  const [node] = cluster.nodes as [Node]
  const listen = node.service.listening()['http'] ?? ''
  await node.close()
  const { root, name } = node
  const settings = { listen, root, name, secret: hostSecret(cluster.secret, name) }
  const lines: string[] = []
  const log = createLogger('test', { level: 'silent' })
  log.level = 'warn'
  log.warn = ((...words: unknown[]) => lines.push(words.join(' '))) as typeof log.warn
  node.service = createStorageNode(
    { ...settings, open: false, fsync: 'off', logLevel: 'error' },
    log,
  )
  await node.service.start()
  // The port of its side channel may be taken: it tells that, too.
  t.equal(lines.filter(line => line.startsWith('fsync is off: ')).length, 1, 'it says so itself')
  await until('it is back', async () =>
    (await cluster.api.listHosts()).every(({ observed }) => observed === 'reachable'),
  )

  const env = { OMG_TRACKERS: cluster.http, OMG_TOKEN: cluster.token }
  const status = await runInside(['status'], { env })
  t.match(status.stdout, /^fsync: off on node1: a power cut there loses acknowledged files$/m)
  const json = JSON.parse((await runInside(['status', '--json'], { env })).stdout) as ClusterStatus
  t.same(
    json.hosts.map(({ fsync }) => fsync),
    ['off', 'on'],
  )
})
