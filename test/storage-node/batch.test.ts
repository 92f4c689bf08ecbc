import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { signGrant, type Grant } from '../../common/signing.ts'
import { filesBelow, keys, secret, signed, startNode, type TestNode } from './node.ts'

const hex = (text: string): string => createHash('sha256').update(text).digest('hex')
const textOf = (fid: number): string => `the bytes of file ${fid}`
const place = (devid: number, fid: number): string => replicaPath({ devid, fid })

const tokenOf = (grant: Grant): string => signGrant(keys, grant, Math.floor(Date.now() / 1000) + 60)
const batchPath = (devid: number, what: 'copies' | 'deletions'): string => {
  const method = what === 'copies' ? 'COPY' : 'DELETE'
  return `/dev${devid}/${what}?${tokenOf({ method, devid, object: what })}`
}
const copyPath = (devid: number, fid: number, origin: string): string =>
  `${place(devid, fid)}?${tokenOf({ method: 'COPY', devid, object: `${fid}@${origin}` })}`

interface Line {
  readonly at?: number
  readonly end?: true
  readonly code?: string
  readonly sha256?: string
}

async function post(
  node: TestNode,
  path: string,
  lines: readonly unknown[],
): Promise<{ status: number; code: string | undefined; lines: Line[] }> {
  const body = lines.map(line => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`)
  const answer = await node.send('POST', path, { body: body.join('') })
  if (answer.status !== 200) return { ...answer, lines: [] }
  const read = answer.body.toString().trimEnd().split('\n')
  return { ...answer, lines: read.map(text => JSON.parse(text) as Line) }
}

/** Two nodes, the first with `count` files on device 1. */
async function startPair(
  t: Test,
  count: number,
): Promise<{ from: TestNode; to: TestNode; origin: string; sourceOf: (fid: number) => string }> {
  const root = t.testdir({ from: {}, to: {} })
  const from = await startNode(t, { secret, root: join(root, 'from'), devices: [1] })
  const to = await startNode(t, { secret, root: join(root, 'to'), devices: [2] })
  for (let fid = 1; fid <= count; fid++) {
    await from.send('PUT', signed('PUT', { devid: 1, fid }), { body: textOf(fid) })
  }
  const origin = `127.0.0.1:${from.port}`
  const sourceOf = (fid: number): string => `http://${origin}${signed('GET', { devid: 1, fid })}`
  return { from, to, origin, sourceOf }
}

void t.test('many copies are made by one request, each answered by a line', async t => {
  const count = 100
  const { to, origin, sourceOf } = await startPair(t, count)
  const lines = Array.from({ length: count }, (_, i) => ({
    path: copyPath(2, i + 1, origin),
    source: sourceOf(i + 1),
    size: textOf(i + 1).length,
    sha256: hex(textOf(i + 1)),
  }))
  for (const what of ['new ones', 'the same once more']) {
    const answer = await post(to, batchPath(2, 'copies'), lines)
    t.equal(answer.lines.length, count + 1)
    t.strictSame(answer.lines.at(-1), { end: true })
    const byLine = new Map(answer.lines.map(line => [line.at, line]))
    for (let at = 0; at < count; at++) {
      t.strictSame(byLine.get(at), { at, sha256: hex(textOf(at + 1)) }, what)
    }
  }
  const got = await to.send('GET', signed('GET', { devid: 2, fid: count }))
  t.equal(got.body.toString(), textOf(count))
  t.equal(filesBelow(to.root).filter(name => name.endsWith('.fid')).length, count)
  t.notOk(
    filesBelow(to.root).some(name => name.endsWith('.tmp')),
    'nothing else is left',
  )
})

void t.test('a line that is refused or fails keeps none of the others from being done', async t => {
  const { to, origin, sourceOf } = await startPair(t, 3)
  await to.send('PUT', signed('PUT', { devid: 2, fid: 3 }), { body: 'other bytes, the same fid' })
  const good = { path: copyPath(2, 1, origin), source: sourceOf(1) }
  const cases: [what: string, line: object, code: string][] = [
    ['no token', { ...good, path: place(2, 1) }, 'bad_token'],
    ['a token of another file', { ...good, path: copyPath(2, 2, origin) }, 'source_refused'],
    ['a token for another source', { ...good, path: copyPath(2, 1, '127.0.0.1:1') }, 'bad_token'],
    ['a token for PUT', { ...good, path: signed('PUT', { devid: 2, fid: 1 }) }, 'bad_token'],
    ['another device', { ...good, path: copyPath(1, 1, origin) }, 'bad_path'],
    ['no replica', { ...good, path: '/dev2/usage' }, 'bad_path'],
    ['a way out', { ...good, path: '/dev2/../x' }, 'bad_path'],
    ['no source', { path: good.path }, 'bad_request'],
    ['itself', { ...good, source: `http://${origin}${place(2, 1)}` }, 'source_refused'],
    ['another size', { ...good, size: 1 }, 'source_failed'],
    ['other bytes', { ...good, sha256: hex('other') }, 'source_failed'],
    [
      'a source that is not there',
      { ...good, source: sourceOf(1).replace(/\?.*/, '') },
      'source_failed',
    ],
    [
      'other bytes under the fid',
      { path: copyPath(2, 3, origin), source: sourceOf(3) },
      'fid_exists',
    ],
  ]
  for (const size of [undefined, textOf(1).length]) {
    const lines = cases.map(([, line]) => ({ size, ...line }))
    const last = { path: copyPath(2, 2, origin), source: sourceOf(2), size }
    const answer = await post(to, batchPath(2, 'copies'), [...lines, last])
    for (const [at, [what, , code]] of cases.entries()) {
      t.match(
        answer.lines.find(line => line.at === at),
        { code },
        what,
      )
    }
    t.match(
      answer.lines.find(line => line.at === cases.length),
      { sha256: hex(textOf(2)) },
    )
    t.strictSame(answer.lines.at(-1), { end: true })
  }
  t.strictSame(
    filesBelow(join(to.root, 'dev2')).filter(name => name.includes('0')),
    [place(2, 2), place(2, 3)].map(path => path.slice('/dev2/'.length)),
  )
})

void t.test('many files are removed by one request', async t => {
  const { from } = await startPair(t, 40)
  const below = join(from.root, 'dev1', '0', '000', '000')
  mkdirSync(join(below, '0000000041.fid'))
  symlinkSync(join(below, '0000000040.fid'), join(below, '0000000042.fid'))
  const lines = Array.from({ length: 43 }, (_, i) => ({
    path: signed('DELETE', { devid: 1, fid: i + 1 }),
  }))
  lines[38] = { path: place(1, 39) }
  const { lines: answers } = await post(from, batchPath(1, 'deletions'), lines)
  const codes = new Map(answers.map(({ at, code }) => [(at ?? -2) + 1, code]))
  for (let fid = 1; fid <= 38; fid++) t.equal(codes.get(fid), undefined)
  t.equal(codes.get(39), 'bad_token')
  t.equal(codes.get(40), undefined)
  t.equal(codes.get(41), 'bad_path', 'a directory')
  t.equal(codes.get(42), 'not_regular', 'a link')
  t.equal(codes.get(43), 'not_found')
  t.strictSame(answers.at(-1), { end: true })
  t.ok(existsSync(join(below, '0000000039.fid')))
  t.notOk(existsSync(join(below, '0000000040.fid')))
  const again = await post(from, batchPath(1, 'deletions'), [lines[0]])
  t.match(again.lines[0], { at: 0, code: 'not_found' })
})

void t.test('a request of lines is refused as a whole before anything is done', async t => {
  const { to, origin, sourceOf } = await startPair(t, 1)
  const good = { path: copyPath(2, 1, origin), source: sourceOf(1) }
  const path = batchPath(2, 'copies')
  const cases: [
    what: string,
    path: string,
    lines: readonly unknown[],
    status: number,
    code: string,
  ][] = [
    ['no token', '/dev2/copies', [good], 403, 'bad_token'],
    [
      'a token for deletions',
      batchPath(2, 'deletions').replace('deletions?', 'copies?'),
      [good],
      403,
      'bad_token',
    ],
    [
      'a token of another device',
      batchPath(1, 'copies').replace('dev1', 'dev2'),
      [good],
      403,
      'bad_token',
    ],
    ['a device that is not here', batchPath(9, 'copies'), [good], 404, 'no_such_device'],
    ['no JSON', path, [good, '{'], 400, 'bad_request'],
    ['null', path, [good, 'null'], 400, 'bad_request'],
    ['a list', path, [good, '[1]'], 400, 'bad_request'],
    ['no path', path, [good, { source: good.source }], 400, 'bad_request'],
    ['a source that is no text', path, [good, { ...good, source: 1 }], 400, 'bad_request'],
    ['a negative size', path, [good, { ...good, size: -1 }], 400, 'bad_request'],
    ['a size beyond 2^53', path, [good, { ...good, size: 2 ** 53 }], 400, 'bad_request'],
    ['a digest that is none', path, [good, { ...good, sha256: 'AA' }], 400, 'bad_request'],
    ['too many lines', path, Array.from({ length: 1_001 }, () => good), 413, 'payload_too_large'],
    ['too many bytes', path, ['x'.repeat(1024 * 1024 + 1)], 413, 'payload_too_large'],
  ]
  for (const [what, at, lines, status, code] of cases) {
    t.match(await post(to, at, lines), { status, code }, what)
  }
  t.strictSame(filesBelow(join(to.root, 'dev2')), [])
  t.match(
    await post(to, path, []),
    { status: 200, lines: [{ end: true }] },
    'nothing to do is fine',
  )
})

void t.test('what takes lines is no file, and takes nothing else', async t => {
  const node = await startNode(t)
  for (const path of ['/dev1/copies', '/dev1/deletions']) {
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'MKCOL']) {
      const answer = await node.send(method, path, { body: method === 'PUT' ? 'x' : '' })
      t.match(answer, { status: 405, headers: { allow: 'POST, OPTIONS' } }, `${method} ${path}`)
    }
    t.match(await node.send('OPTIONS', path), { headers: { allow: 'POST, OPTIONS' } })
  }
  t.match(await node.send('POST', place(1, 1), { body: 'x' }), { status: 405 })
  t.notOk(existsSync(join(node.root, 'dev1', 'copies')))
})
