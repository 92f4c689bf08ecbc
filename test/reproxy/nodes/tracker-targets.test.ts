import type { ServerResponse } from 'node:http'
import t from 'tap'
import { fetchRaw, fileNode, fileProxy, httpPeer, until } from '../peers.ts'

t.test(
  'the storage nodes of the trackers may be contacted, as soon as one of them is named',
  async t => {
    const node = await fileNode(t, 'file bytes')
    let targets: string[] = []
    let asked = 0
    let broken: ((res: ServerResponse) => void) | undefined
    const tracker = await httpPeer(t, (req, res) => {
      asked++
      t.equal(req.url, '/v1/targets')
      t.equal(req.headers.authorization, 'Bearer the-token')
      if (broken) broken(res)
      else res.end(JSON.stringify({ targets }))
    })
    const proxy = await fileProxy(t, node.url(), {
      tracker: ['http://127.0.0.1:1', `http://127.0.0.1:${tracker.port}/`],
      trackerToken: 'the-token',
    })
    await until(() => asked === 1)
    t.equal((await fetchRaw(t, proxy.port)).status, 503)
    t.equal(node.connections(), 0)

    targets = [`127.0.0.1:${node.port}`, 'junk']
    const many = async (): Promise<number[]> =>
      Promise.all(Array.from({ length: 30 }, async () => (await fetchRaw(t, proxy.port)).status))
    const before = asked
    await many()
    await many()
    t.ok(asked - before <= 1, 'unknown targets do not become a flood')
    for (let got = 0; got !== 200;) got = (await fetchRaw(t, proxy.port)).status

    for (const answer of [
      (res: ServerResponse): void => void res.destroy(),
      (res: ServerResponse): void => void res.writeHead(401).end(),
      (res: ServerResponse): void => void res.end('not JSON'),
      (res: ServerResponse): void => void res.end('{"targets":[1]}'),
    ]) {
      broken = answer
      const count = asked
      // An unknown target asks for a newer list, which does not come.
      const other = await fileProxy(t, 'http://127.0.0.1:2/', {
        tracker: [`http://127.0.0.1:${tracker.port}`],
        trackerToken: 'the-token',
      })
      t.equal((await fetchRaw(t, other.port)).status, 503)
      t.ok(asked > count)
      t.equal((await fetchRaw(t, proxy.port)).status, 200, 'the last good list stays')
    }
    await proxy.reproxy.configure({ ...proxy.config, maxAttempts: 3 })
    t.equal((await fetchRaw(t, proxy.port)).status, 200, 'also with other settings')
    t.notMatch(JSON.stringify(proxy.lines), /the-token/)
  },
)
