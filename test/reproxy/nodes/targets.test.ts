import t from 'tap'
import {
  AllowList,
  parseAllowList,
  parseTarget,
  parseTargets,
} from '../../../reproxy/nodes/targets.ts'
import { fetchRaw, fileNode, fileProxy } from '../peers.ts'

t.test('a URL is read as what will be dialled', async t => {
  const cases: [url: string, host: string, port: number, path: string][] = [
    ['http://10.0.0.1:7500/dev1/a.fid', '10.0.0.1', 7500, '/dev1/a.fid'],
    ['HTTP://node1.example/x?a=b%20c', 'node1.example', 80, '/x?a=b%20c'],
    ['http://NODE_1:81', 'node_1', 81, '/'],
    ['http://[2001:db8::1]:7500/x', '2001:db8::1', 7500, '/x'],
    ['http://10.0.0.1/a/../b//c', '10.0.0.1', 80, '/a/../b//c'],
  ]
  for (const [url, host, port, path] of cases) t.match(parseTarget(url), { host, port, path }, url)
  t.equal(parseTarget('http://10.0.0.1:81/')?.authority, '10.0.0.1:81')
})

t.test('a URL that could be read in two ways is unusable', async t => {
  for (const url of [
    '',
    '/dev1/x',
    'https://10.0.0.1/x',
    'ftp://10.0.0.1/x',
    'file:///etc/passwd',
    'http:/10.0.0.1/x',
    'http://',
    'http:///x',
    'http://:80/x',
    'http://10.0.0.1:/x',
    'http://10.0.0.1:0/x',
    'http://10.0.0.1:-1/x',
    'http://10.0.0.1:65536/x',
    'http://10.0.0.1:999999/x',
    'http://10.0.0.1:80:80/x',
    'http://10.0.0.1:8o/x',
    'http://user@10.0.0.1/x',
    'http://user:pw@10.0.0.1/x',
    'http://good:80#@bad/x',
    'http://good:80?@bad/x',
    'http://good\\@bad/x',
    'http://good\\bad/x',
    'http://10.0.0.1?x',
    'http://10.0.0.1#x',
    'http://10.0.0.1/x#y',
    'http://2130706433/x',
    'http://0x7f000001/x',
    'http://0x7f.0.0.1/x',
    'http://0177.0.0.1/x',
    'http://127.1/x',
    'http://127.0.0.01/x',
    'http://127.0.0.1./x',
    'http://localhost./x',
    'http://node.0x1/x',
    'http://%31%32%37.0.0.1/x',
    'http://[::1/x',
    'http://[::1]80/x',
    'http://[::1%25lo]/x',
    'http://[fe80::1%lo]/x',
    'http://[::ffff:127.0.0.1]/x',
    'http://[::ffff:7f00:1]/x',
    'http://[0:0:0:0:0:ffff:127.0.0.1]/x',
    'http://[0000:0000:0000:0000:0000:FFFF:7f00:0001]/x',
    'http://[127.0.0.1]/x',
    'http://-a/x',
    'http://a..b/x',
    'http://.a/x',
    `http://${'a'.repeat(64)}/x`,
    `http://${'a.'.repeat(130)}a/x`,
    'http://ｌocalhost/x',
    'http://10.0.0.1/\x01',
    'http://10.0.0.1/\x7f',
  ]) {
    t.equal(parseTarget(url), undefined, url)
  }
})

t.test('a list is separated by any run of blanks and keeps its order', async t => {
  const list = ' \thttp://a/1  junk\thttp://b/2 http://a/1,http://c/3  '
  t.strictSame(
    parseTargets(list).map(target => target.path),
    ['/1', '/2', '/1,http://c/3'],
  )
  t.strictSame(parseTargets(' '), [])
})

t.test('the allow-list takes addresses, networks and names, each with its port', async t => {
  const list = parseAllowList(
    'allow-targets',
    '10.0.0.0/8:7500,192.168.1.1:80,Node1:81,[fd00::/16]:7500,[::1]:82'.split(','),
  )
  const cases: [host: string, port: number, allowed: boolean][] = [
    ['10.1.2.3', 7500, true],
    ['10.1.2.3', 7501, false],
    ['11.1.2.3', 7500, false],
    ['192.168.1.1', 80, true],
    ['192.168.1.2', 80, false],
    ['node1', 81, true],
    ['node1', 80, false],
    ['node2', 81, false],
    ['fd00::5', 7500, true],
    ['fe00::5', 7500, false],
    ['::1', 82, true],
    ['::ffff:10.1.2.3', 7500, false],
  ]
  for (const [host, port, allowed] of cases) {
    const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
    const place = { host, port, node: authority }
    t.equal(list.allows(place), allowed, authority)
  }
  for (const bad of [
    '10.0.0.1',
    '10.0.0.0/33:80',
    'a:0',
    'a:65536',
    ':80',
    '10.0.0.1/8/8:80',
    'http://a:80',
    'a b:80',
    '2130706433:80',
  ]) {
    t.throws(() => parseAllowList('allow-targets', [bad]), { message: /^--allow-targets: / }, bad)
  }
  t.equal(
    new AllowList().allows({ host: '127.0.0.1', port: 80, node: '127.0.0.1:80' }),
    false,
    'an empty list allows nothing',
  )
})

t.test('a target that is not listed is skipped without a connection', async t => {
  const listed = await fileNode(t, 'listed')
  const secret = await fileNode(t, 'secret')
  const { port } = secret
  for (const url of [
    secret.url(),
    `http://localhost:${port}/`,
    `http://2130706433:${port}/`,
    `http://0x7f000001:${port}/`,
    `http://127.1:${port}/`,
    `http://[::ffff:127.0.0.1]:${port}/`,
    `http://127.0.0.1:${listed.port}@127.0.0.1:${port}/`,
    `http://127.0.0.1:${listed.port}#@127.0.0.1:${port}/`,
    `http://127.0.0.1:${listed.port}\\@127.0.0.1:${port}/`,
    'http://169.254.169.254/latest/meta-data',
  ]) {
    const alone = await fileProxy(t, url, { ports: [listed.port] })
    t.equal((await fetchRaw(t, alone.port)).status, 503, url)
    const both = await fileProxy(t, `${url} ${listed.url()}`, { ports: [listed.port] })
    t.equal((await fetchRaw(t, both.port)).body.toString(), 'listed', url)
  }
  t.equal(secret.connections(), 0)
})

t.test('a listed name counts only for addresses that are listed too', async t => {
  const node = await fileNode(t, 'file bytes')
  const list = `http://localhost:${node.port}/x`
  const name = `localhost:${node.port}`
  const only = await fileProxy(t, list, { allowTargets: [name] })
  t.equal((await fetchRaw(t, only.port)).status, 503)
  t.equal(node.connections(), 0)
  const both = await fileProxy(t, list, { allowTargets: [name, `127.0.0.1:${node.port}`] })
  t.equal((await fetchRaw(t, both.port)).body.toString(), 'file bytes')
  t.match(node.requests[0]?.head, `Host: localhost:${node.port}`)
})
