import { createHash } from 'node:crypto'
import { utimesSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { checkReceipt, parseReceipt, signGrant } from '../../common/signing.ts'
import { until } from '../helpers/until.ts'
import { exchange, filesBelow, keys, secret, signed, startNode } from './node.ts'

const replica = { devid: 1, fid: 7 }
const path = replicaPath(replica)
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const range = (value: string) => ({ 'content-range': `bytes ${value}` })

void t.test('a file may come in parts, and gets its name with the last', async t => {
  const node = await startNode(t, { secret })
  const put = (body: string, value: string) =>
    node.send('PUT', signed('PUT', replica), { body, headers: range(value) })
  t.match(await put('', '*/9'), { status: 202, headers: { 'omg-offset': '0' } })
  t.match(await put('abc', '0-2/9'), { status: 202, headers: { 'omg-offset': '3' } })
  t.match(await put('def', '3-5/9'), { status: 202, headers: { 'omg-offset': '6' } })
  t.match(await put('def', '3-5/9'), { status: 202, headers: { 'omg-offset': '6' } }, 'sent again')
  t.match(await put('', '*/9'), { status: 202, headers: { 'omg-offset': '6' } }, 'asked')
  t.equal((await node.send('GET', signed('GET', replica))).status, 404, 'not before')
  const last = await put('ghi', '6-8/9')
  t.equal(last.status, 201)
  const receipt = String(last.headers['omg-receipt'])
  t.ok(checkReceipt([keys], receipt))
  t.same(parseReceipt(receipt), { ...replica, size: 9, sha256: sha256('abcdefghi') })
  t.equal((await node.send('GET', signed('GET', replica))).body.toString(), 'abcdefghi')
  t.same(filesBelow(node.root), [path.slice(1)])
})

void t.test('parts come in any order, several at once, in whatever pieces', async t => {
  const node = await startNode(t, { secret })
  const put = (body: string, value: string, from?: number) =>
    node.send('PUT', signed('PUT', replica), {
      body,
      headers: { ...range(value), ...(from !== undefined && { 'omg-from': String(from) }) },
    })
  const offset = (value: number) => ({ status: 202, headers: { 'omg-offset': String(value) } })
  t.match(await put('ghi', '6-8/12'), offset(9), 'the third comes first')
  t.match(await put('', '*/12'), offset(0), 'nothing is there from the beginning on')
  t.match(await put('', '*/12', 6), offset(9), 'but from its own on')
  t.match(await put('', '*/12', 7), offset(9), 'also from within')
  t.match(await put('', '*/12', 9), offset(9))
  t.match(await put('', '*/12', 12), offset(12), 'behind the end nothing is missing')
  t.match(await put('efg', '4-6/12'), offset(9), 'one may lie over another')
  t.match(await put('ab', '0-1/12'), offset(2))
  t.match(await put('cd', '2-3/12'), offset(9), 'a gap is closed')
  const last = await put('jkl', '9-11/12')
  t.equal(last.status, 201)
  t.match(parseReceipt(String(last.headers['omg-receipt'])), { sha256: sha256('abcdefghijkl') })

  const many = Array.from({ length: 40 }, (_, i) => `${'abcdefgh'[i % 8]}`.repeat(1000 + i))
  const text = many.join('')
  const other = { devid: 1, fid: 8 }
  let at = 0
  const answers = await Promise.all(
    many.map(body => {
      const headers = range(`${at}-${(at += body.length) - 1}/${text.length}`)
      return node.send('PUT', signed('PUT', other), { body, headers })
    }),
  )
  const statuses = new Set(answers.map(({ status }) => status))
  t.ok(statuses.delete(201), 'the last completes it')
  t.same([...statuses], [202])
  t.ok((await node.send('GET', signed('GET', other))).body.equals(Buffer.from(text)))
  t.same(filesBelow(join(node.root, 'dev1', '.tmp')), [])
})

void t.test('what has come of a part that breaks off is kept', async t => {
  const node = await startNode(t)
  const part = Buffer.alloc(4 * 1024 * 1024, 'part')
  const total = 2 * part.length
  const head = `PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Range: bytes ${part.length}-${total - 1}/${total}`
  const sent = Buffer.concat([
    Buffer.from(`${head}\r\nContent-Length: ${part.length}\r\n\r\n`),
    part.subarray(0, -1),
  ])
  await exchange(node.port, sent, true)
  const ask = () =>
    node.send('PUT', path, {
      headers: { ...range(`*/${total}`), 'omg-from': String(part.length) },
    })
  const answer = await until('the break is noticed', async () => {
    const asked = await ask()
    return asked.status === 202 && Number(asked.headers['omg-offset']) > part.length && asked
  })
  const there = Number(answer.headers['omg-offset'])
  const rest = await node.send('PUT', path, {
    body: part.subarray(there - part.length),
    headers: range(`${there}-${total - 1}/${total}`),
  })
  t.match(rest, { status: 202, headers: { 'omg-offset': String(total) } })
  const first = await node.send('PUT', path, {
    body: part,
    headers: range(`0-${part.length - 1}/${total}`),
  })
  t.equal(first.status, 201)
  t.same((await node.send('GET', path)).body, Buffer.concat([part, part]))
})

void t.test('parts of a file of another size do not mix with its own', async t => {
  const node = await startNode(t)
  const put = (body: string, value: string) =>
    node.send('PUT', path, { body, headers: range(value) })
  await put('abcdef', '0-5/9')
  t.match(await put('', '*/7'), { status: 202, headers: { 'omg-offset': '0' } })
  t.match(await put('', '*/9'), { status: 202, headers: { 'omg-offset': '6' } }, 'asking is free')
  t.match(await put('XYZ', '4-6/7'), { status: 202 })
  t.match(await put('', '*/9'), { status: 202, headers: { 'omg-offset': '0' } })
  t.equal((await put('UVWX', '0-3/7')).status, 201)
  t.equal((await node.send('GET', path)).body.toString(), 'UVWXXYZ')
})

void t.test('who has lost the last answer gets it again', async t => {
  const node = await startNode(t, { secret })
  const put = (body: string, value: string) =>
    node.send('PUT', signed('PUT', replica), { body, headers: range(value) })
  await put('abc', '0-2/6')
  const last = await put('def', '3-5/6')
  const same = { status: 201, headers: { 'omg-receipt': String(last.headers['omg-receipt']) } }
  t.match(await put('', '*/6'), same, 'who asks')
  t.match(await put('def', '3-5/6'), same, 'who sends it once more')
  const other = { status: 409, code: 'fid_exists' }
  t.match(await put('', '*/7'), other, 'of another length')
  t.match(await put('deF', '3-5/6'), other, 'of other bytes')
  t.match(await put('ef', '4-5/6'), same)
  t.match(await put('abc', '0-2/6'), same, 'any part of it')
  t.match(await put('abC', '0-2/6'), other)
  await node.send(
    'DELETE',
    `${path}?${signGrant(keys, { method: 'DELETE', devid: 1, object: '7' }, Math.floor(Date.now() / 1000) + 60)}`,
  )
  t.match(await put('', '*/6'), { status: 202, headers: { 'omg-offset': '0' } }, 'once it is gone')
  t.same(filesBelow(node.root), [], 'asking leaves nothing')
})

void t.test('a deleted file takes what came in parts with it', async t => {
  const node = await startNode(t)
  const put = (body: string, value: string) =>
    node.send('PUT', path, { body, headers: range(value) })
  await put('abc', '0-2/9')
  t.equal((await node.send('DELETE', path)).status, 404, 'it has no name yet')
  t.same(filesBelow(node.root), [])
  await node.send('PUT', path, { body: 'old' })
  await put('abc', '0-2/9')
  t.equal((await node.send('DELETE', path)).status, 204)
  t.same(filesBelow(node.root), [])

  await put('abc', '0-2/9')
  const head = `PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Range: bytes 3-8/9\r\n`
  const socket = connect(node.port, '127.0.0.1')
  let answer = ''
  socket.on('data', chunk => (answer += chunk.toString()))
  socket.write(`${head}Content-Length: 6\r\n\r\ndef`)
  await until('the part is being written', async () => (await put('', '*/9')).status === 503)
  t.equal((await node.send('DELETE', path)).status, 404)
  socket.write('ghi')
  await until('an answer', () => answer !== '')
  socket.destroy()
  t.match(answer, /^HTTP\/1\.1 (202|416) /, 'what came behind it may be there')
  t.match(
    await put('', '*/9'),
    { status: 202, headers: { 'omg-offset': '0' } },
    'the writer begins',
  )
  await node.send('DELETE', path)
  t.same(filesBelow(node.root), [])
})

void t.test('files of one name in two directories do not share their parts', async t => {
  const node = await startNode(t)
  const put = (name: string, body: string, value: string) =>
    node.send('PUT', `/dev1/${name}`, { body, headers: range(value) })
  await put('a/x', 'abc', '0-2/4')
  t.match(await put('b/x', '', '*/4'), { status: 202, headers: { 'omg-offset': '0' } })
})

void t.test('parts that make no sense change nothing', async t => {
  const node = await startNode(t)
  for (const value of ['0-2/2', '2-0/9', '0-5/9', '0-2', 'x', '0-2/99999999999999999']) {
    const answer = await node.send('PUT', path, { body: 'abc', headers: range(value) })
    t.match(answer, { status: 400, code: 'bad_request' }, value)
  }
  for (const from of ['-1', 'x', '10', '']) {
    const headers = { ...range('*/9'), 'omg-from': from }
    const answer = await node.send('PUT', path, { headers })
    t.match(answer, { status: 400, code: 'bad_request' }, `from "${from}"`)
  }
  const beyond = await node.send('PUT', path, { body: 'abc', headers: range('3-5/*') })
  t.match(beyond, { status: 416, code: 'range_not_satisfiable' })
  const unknown = await node.send('PUT', path, { body: '', headers: range('*/*') })
  t.match(unknown, { status: 400, code: 'bad_request' })
  const headers = { ...range('0-2/3'), 'repr-digest': `sha-256=:${'A'.repeat(43)}=:` }
  const wrong = await node.send('PUT', path, { body: 'abc', headers })
  t.match(wrong, { status: 400, code: 'checksum_mismatch' })
  t.same(filesBelow(node.root), [])
})

void t.test('what is unfinished outlives a restart, but not for ever', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'abc', headers: range('0-2/9') })
  await node.close()
  const again = await startNode(t, { root: node.root })
  const asked = await again.send('PUT', path, { headers: range('*/9') })
  t.match(asked, { status: 202, headers: { 'omg-offset': '3' } })
  await again.close()
  const [file] = filesBelow(node.root)
  const old = new Date(Date.now() - 25 * 3600_000)
  utimesSync(join(node.root, file ?? ''), old, old)
  await startNode(t, { root: node.root })
  t.same(filesBelow(node.root), [])
})

void t.test(
  'a client that does not know the length writes into the file that is there',
  async t => {
    const node = await startNode(t)
    const put = (body: string, value: string) =>
      node.send('PUT', path, { body, headers: range(value) })
    const stored = async (): Promise<string> => (await node.send('GET', path)).body.toString()
    t.equal((await node.send('PUT', path)).status, 201, 'empty at first')
    t.match(await put('abc', '0-2/*'), { status: 201, headers: { 'omg-offset': '3' } })
    t.match(await put('defgh', '3-7/*'), { status: 201, headers: { 'omg-offset': '8' } })
    t.equal(await stored(), 'abcdefgh')
    t.match(
      await put('XY', '1-2/*'),
      { status: 201, headers: { 'omg-offset': '8' } },
      'in its midst',
    )
    t.equal(await stored(), 'aXYdefgh')
    t.match(await put('z', '9-9/*'), { status: 416 })
    const end = await node.send('GET', path, { headers: { range: 'bytes=8-' } })
    t.match(end, { status: 416, headers: { 'content-range': 'bytes */8' } })
    const large = 'large '.repeat(200_000)
    t.equal((await put(large, `8-${7 + large.length}/*`)).status, 201)
    t.equal(await stored(), `aXYdefgh${large}`)
    t.same(filesBelow(node.root), [path.slice(1)])

    const head = `PUT ${path} HTTP/1.1\r\nHost: a\r\nContent-Range: bytes 0-9/*\r\n`
    await exchange(node.port, `${head}Content-Length: 10\r\n\r\nshort`, true)
    await until('it is cleared away', () => filesBelow(node.root).length === 1)
    t.equal(await stored(), `aXYdefgh${large}`, 'a part that ends early changes nothing')

    const created = replicaPath({ devid: 1, fid: 8 })
    const first = await node.send('PUT', created, { body: 'abc', headers: range('0-2/*') })
    t.match(first, { status: 201, headers: { 'omg-offset': '3' } }, 'the first makes the file')
  },
)

void t.test('with a signed URL a file never grows under its name', async t => {
  const node = await startNode(t, { secret })
  t.equal((await node.send('PUT', signed('PUT', replica))).status, 201)
  const headers = range('0-2/*')
  const answer = await node.send('PUT', signed('PUT', replica), { body: 'abc', headers })
  t.match(answer, { status: 501, code: 'not_implemented' })
})
