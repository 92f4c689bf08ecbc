import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { directory } from '../../helpers/directory.ts'
import { fetchRaw, httpPeer, startProxy } from '../peers.ts'

t.test('X-Reproxy-File serves regular files below the roots and nothing else', async t => {
  const dir = await directory(t)
  const root = join(dir, 'root')
  await mkdir(join(root, 'sub'), { recursive: true })
  await writeFile(join(root, 'file'), '0123456789')
  await writeFile(join(root, 'empty'), '')
  const odd = Buffer.concat([Buffer.from(join(root, 'ä €')), Buffer.from([0xff])])
  await writeFile(odd, 'odd name')
  await writeFile(join(dir, 'secret'), 'secret')
  await writeFile(join(dir, 'root-beside'), 'secret')
  await symlink(join(dir, 'secret'), join(root, 'out'))
  await symlink(join(root, 'file'), join(root, 'in'))
  let file = ''
  let size: string | undefined
  const app = await httpPeer(t, (_req, res) => {
    res.writeHead(204, {
      'X-Reproxy-File': file,
      ...(size ? { 'X-Reproxy-Expected-Size': size } : {}),
      'Content-Type': 'a/b',
      ETag: '"v"',
      'Set-Cookie': 'a=b',
    })
    res.end()
  })
  const proxy = await startProxy(t, app.port, { fileRoots: [root] })
  const off = await startProxy(t, app.port)
  const ask = (path: string, fields = '', method = 'GET') => {
    file = path
    return fetchRaw(t, proxy.port, { fields, method })
  }
  const whole = await ask(join(root, 'file'))
  t.equal(`${whole.status} ${whole.body.toString()}`, '200 0123456789')
  t.equal(whole.field('content-type'), 'a/b')
  t.equal(whole.field('accept-ranges'), 'bytes')
  t.notMatch(whole.head, /x-reproxy/i)
  t.equal((await ask(join(root, 'in'))).body.toString(), '0123456789')
  t.equal((await ask(odd.toString('latin1'))).body.toString(), 'odd name', 'a name of any bytes')
  t.equal((await ask(join(root, 'file'), '', 'HEAD')).field('content-length'), '10')
  const part = await ask(join(root, 'file'), 'Range: bytes=2-4\r\n')
  t.equal(
    `${part.status} ${part.field('content-range')} ${part.body.toString()}`,
    '206 bytes 2-4/10 234',
  )
  t.equal(
    (await ask(join(root, 'file'), 'Range: bytes=10-\r\n')).field('content-range'),
    'bytes */10',
  )
  t.equal((await ask(join(root, 'file'), 'If-None-Match: "v"\r\n')).status, 304)
  const empty = await ask(join(root, 'empty'))
  t.equal(`${empty.status} ${empty.field('content-length')}`, '200 0')

  const bad = ['file', `${root}/../secret`, join(root, 'out'), join(dir, 'root-beside'), root]
  for (const path of [...bad, join(root, 'sub'), join(root, 'none'), '/dev/zero', '/etc/passwd']) {
    const got = await ask(path)
    t.equal(got.status, 404, path)
    t.equal(got.field('set-cookie'), undefined, 'nothing of the application is shown')
  }
  size = '9'
  t.equal((await ask(join(root, 'file'))).status, 404, 'another size')
  size = undefined
  file = join(root, 'file')
  t.equal((await fetchRaw(t, off.port)).status, 404, 'without roots')
})

t.test('the application is told what it may ask for', async t => {
  const app = await httpPeer(t, (req, res) => res.end(req.headers['x-proxy-capabilities']))
  const withRoots = await startProxy(t, app.port, { fileRoots: ['/nowhere'] })
  const without = await startProxy(t, app.port)
  t.match((await fetchRaw(t, withRoots.port)).body.toString(), /\breproxy-file\b/)
  t.equal((await fetchRaw(t, without.port)).body.toString(), 'reproxy-url')
})
