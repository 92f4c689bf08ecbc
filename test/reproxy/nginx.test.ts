/** nginx with the shipped configuration, and the reproxy: the same requests, the same answers. */
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { directory } from '../helpers/directory.ts'
import { freePort, nginx, startNginx } from '../helpers/edges.ts'
import { missing } from '../helpers/missing.ts'
import { fetchRaw, fileNode, httpPeer, rawPeer, startProxy } from './peers.ts'

const recipe = new URL('../../../deploy/nginx/omgfiles.conf', import.meta.url)

/** Runs nginx with the recipe before an application and nodes; returns its port. */
async function startRecipe(t: Test, app: number, nodes: readonly number[]): Promise<number> {
  const dir = await directory(t)
  const port = await freePort()
  const list = nodes.map(node => `127.0.0.1:${node} 1;`).join('\n')
  const adapted = (await readFile(recipe, 'utf8'))
    .replace('127.0.0.1:3000;', `127.0.0.1:${app};`)
    .replace('listen 127.0.0.1:7080;', `listen 127.0.0.1:${port};`)
    .replaceAll('127.0.0.1:7500 1;', list)
  await startNginx({ dir, port, atEnd: close => t.teardown(close) }, adapted)
  return port
}

const skip = missing('nginx', () => nginx !== undefined)

t.test('nginx and the reproxy answer alike', { skip }, async t => {
  const bytes = 'the bytes of a file'
  const good = await fileNode(
    t,
    bytes,
    'ETag: "node"\r\nContent-Type: node/type\r\nSet-Cookie: node=1\r\n',
  )
  const missing = await rawPeer(
    t,
    ({ socket }) => void socket.write('HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'),
  )
  const foreign = await fileNode(t, 'secret')
  const lists: Record<string, string[]> = {
    '/file': [good.url()],
    '/fallback': [missing.url(), good.url()],
    '/refused': ['http://127.0.0.1:1/x', good.url()],
    '/foreign': [foreign.url()],
    '/none': [missing.url()],
  }
  const app = await httpPeer(t, (req, res) => {
    const list = lists[req.url?.split('?', 1)[0] ?? '']
    if (!list) {
      res.setHeader(
        'X-Seen',
        JSON.stringify([req.headers['x-reproxy-url'], req.headers['x-accel-redirect']]),
      )
      req.pipe(res)
      return
    }
    const [first = '', next = ''] = list.map(url => url.replace('http://', ''))
    const how =
      req.headers['x-proxy-capabilities'] === 'accel'
        ? { 'X-Accel-Redirect': `/_omg/${first}`, 'X-Omg-Next': next }
        : { 'X-Reproxy-URL': list.join(' ') }
    res.writeHead(200, {
      ...how,
      'Content-Type': 'image/x',
      'Cache-Control': 'max-age=5',
      ETag: '"app"',
      'Set-Cookie': ['a=1', 'b=2'],
    })
    res.end()
  })
  const nodes = [good.port, missing.port, 1]
  const theirs = await startRecipe(t, app.port, nodes)
  const { port: ours } = await startProxy(t, app.port, { ports: nodes })

  const ask = async (
    port: number,
    options: NonNullable<Parameters<typeof fetchRaw>[2]>,
  ): Promise<object> => {
    const { status, body, field, head } = await fetchRaw(t, port, options)
    t.notMatch(head, /x-accel|x-reproxy|x-omg|node=1|node\/type/i)
    if (status >= 400) return { status: status === 416 ? 416 : 503 }
    const names = [
      'content-type',
      'content-length',
      'content-range',
      'etag',
      'cache-control',
      'set-cookie',
      'x-seen',
    ]
    const fields = Object.fromEntries(names.map(name => [name, field(name)]))
    return { status, body: body.toString(), ...fields }
  }
  const forged = 'X-Reproxy-URL: http://127.0.0.1/\r\nX-Accel-Redirect: /x\r\n'
  for (const options of [
    { target: '/file' },
    { target: '/file', method: 'HEAD' },
    { target: '/file', fields: 'Range: bytes=4-8\r\n' },
    { target: '/file', fields: 'Range: bytes=-4\r\n' },
    { target: '/file', fields: 'Range: bytes=100-\r\n' },
    { target: '/fallback' },
    { target: '/fallback', fields: 'Range: bytes=0-2\r\n' },
    { target: '/refused' },
    { target: '/foreign' },
    { target: '/none' },
    { target: '/echo', method: 'POST', fields: 'Content-Length: 5\r\n', body: 'hello' },
    { target: '/plain', fields: forged },
  ]) {
    t.strictSame(await ask(ours, options), await ask(theirs, options), JSON.stringify(options))
  }
  t.equal(foreign.connections(), 0)
})
