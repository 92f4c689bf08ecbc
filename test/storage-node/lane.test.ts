import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { buffer, text } from 'node:stream/consumers'
import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { until } from '../helpers/until.ts'
import {
  exchange,
  filesBelow,
  secret,
  signed,
  startNode,
  statusAndCode,
  type TestNode,
} from './node.ts'

const path = (fid: number): string => replicaPath({ devid: 1, fid })
const H = 'Host: a\r\n'
const get = (fid: number, more = ''): string => `GET ${path(fid)} HTTP/1.1\r\n${H}${more}\r\n`
const put = (fid: number, body: string): string =>
  `PUT ${path(fid)} HTTP/1.1\r\n${H}Content-Length: ${body.length}\r\n\r\n${body}`
const temporary = ({ root }: TestNode): string => join(root, 'dev1', '.tmp')
const statuses = (answers: string): string[] =>
  [...answers.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(match => match[1] ?? '')

void t.test('one connection carries requests of all kinds, in one packet or in many', async t => {
  const node = await startNode(t)
  const requests =
    put(1, 'one') +
    get(1) +
    put(2, '') +
    get(2) +
    get(1, 'Range: bytes=1-\r\n') +
    get(9) +
    put(3, 'three') +
    `DELETE ${path(1)} HTTP/1.1\r\n${H}\r\n` +
    get(1) +
    get(3, 'Connection: close\r\n')
  const expected = ['201', '200', '201', '200', '206', '404', '201', '204', '404', '200']
  const whole = await exchange(node.port, requests)
  t.same(statuses(whole), expected)
  t.match(whole, /\r\n\r\noneHTTP/)
  t.match(whole, /\r\n\r\nneHTTP/)
  t.ok(whole.endsWith('\r\n\r\nthree'))

  for (const size of [1, 7, 100]) {
    const socket = connect(node.port, '127.0.0.1').setNoDelay(true)
    let answers = ''
    socket.on('data', chunk => (answers += chunk.toString('latin1')))
    for (let at = 0; at < requests.length; at += size) {
      socket.write(requests.slice(at, at + size))
      if (at % 50 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    await new Promise(resolve => socket.on('end', resolve))
    socket.destroy()
    t.same(statuses(answers), expected, `in pieces of ${size}`)
  }
})

void t.test(
  'a body that comes in pieces is stored whole, and the next request follows',
  async t => {
    const node = await startNode(t)
    const body = 'x'.repeat(3_000_000)
    const answers = await exchange(node.port, put(1, body) + get(1, 'Connection: close\r\n'))
    t.same(statuses(answers), ['201', '200'])
    t.ok(answers.endsWith(`\r\n\r\n${body}`))
  },
)

void t.test('a body that ends early is refused and leaves nothing', async t => {
  const node = await startNode(t)
  const socket = connect(node.port, '127.0.0.1')
  let answer = ''
  socket.on('data', chunk => (answer += chunk.toString()))
  socket.end(put(1, 'x'.repeat(1000)).slice(0, -1))
  await until('an answer', () => answer !== '')
  t.match(answer, /^HTTP\/1\.1 400 /)
  t.same(filesBelow(node.root), [])
})

void t.test(
  'small uploads that come together are each stored or refused by themselves',
  async t => {
    const node = await startNode(t, { fsync: 'off', secret, open: true })
    await node.send('PUT', path(1), { body: 'old' })
    const place = (fid: number): string => join(node.root, path(fid))
    mkdirSync(place(2))
    symlinkSync('0000000001.fid', place(3))
    await node.send('PUT', signed('PUT', { devid: 1, fid: 4 }), { body: 'as it was' })
    const uploads: [target: string, body: string, answer: string][] = [
      [path(1), 'new', '201'],
      [path(2), 'onto a directory', '400 bad_path'],
      [path(3), 'onto a link', '403 not_regular'],
      [signed('PUT', { devid: 1, fid: 4 }), 'other bytes', '409 fid_exists'],
      [signed('PUT', { devid: 1, fid: 4 }), 'as it was', '201'],
      [path(5), 'x'.repeat(64 * 1024), '201'],
      [path(6), 'x'.repeat(64 * 1024 + 1), '201'],
      [path(7), '', '201'],
      [path(8), 'cut short', '400 bad_request'],
    ]
    const clients = uploads.map(([target, body]) => {
      const socket = connect(node.port, '127.0.0.1')
      const head = `PUT ${target} HTTP/1.1\r\n${H}Connection: close\r\nContent-Length: ${body.length}\r\n\r\n`
      socket.write(head + body.slice(0, body.length / 2))
      return { socket, rest: body.slice(body.length / 2), answer: text(socket) }
    })
    await until('a body of two pieces has begun', () => filesBelow(temporary(node)).length > 0)
    for (const [i, { socket, rest }] of clients.entries()) {
      if (uploads[i]?.[2] === '400 bad_request') socket.end(rest.slice(1))
      else socket.write(rest)
    }
    for (const [i, { answer }] of clients.entries()) {
      const [target = '', body = '', expected = ''] = uploads[i] ?? []
      t.equal(statusAndCode(await answer), expected, body.slice(0, 20))
      if (expected !== '201') continue
      const got = await node.send('GET', target.split('?', 1)[0] ?? '')
      t.equal(got.body.toString(), body)
    }
    t.same(filesBelow(temporary(node)), [], 'nothing is left over')
    t.equal((await node.send('GET', path(4))).body.toString(), 'as it was')
    t.equal((await node.send('GET', path(8))).status, 404)
  },
)

void t.test('a file asked for again and again is never an old one', async t => {
  const node = await startNode(t)
  const read = async (): Promise<string> => {
    const { status, body } = await node.send('GET', path(1))
    return status === 200 ? body.toString() : String(status)
  }
  const file = join(node.root, path(1))
  await node.send('PUT', path(1), { body: 'one' })
  for (let i = 0; i < 5; i++) t.equal(await read(), 'one')
  await node.send('PUT', path(1), { body: 'another' })
  t.equal(await read(), 'another')
  for (let i = 0; i < 5; i++) await read()
  writeFileSync(file, 'shorter')
  t.equal(await read(), 'shorter', 'written over by someone else')
  for (let i = 0; i < 5; i++) await read()
  writeFileSync(`${file}.new`, 'renamed')
  renameSync(`${file}.new`, file)
  t.equal(await read(), 'renamed')
  for (let i = 0; i < 5; i++) await read()
  rmSync(file)
  t.equal(await read(), '404')
  await node.send('PUT', path(1), { body: 'back' })
  for (let i = 0; i < 5; i++) t.equal(await read(), 'back')
  t.equal((await node.send('DELETE', path(1))).status, 204)
  t.equal(await read(), '404')
})

void t.test('a node that closes ends idle connections and answers what is under way', async t => {
  const node = await startNode(t)
  const idle = connect(node.port, '127.0.0.1')
  idle.write(put(1, 'x'))
  await new Promise(resolve => idle.once('data', resolve))
  const busy = connect(node.port, '127.0.0.1')
  let answer = ''
  busy.on('data', chunk => (answer += chunk.toString()))
  const request = put(2, 'y'.repeat(100_000))
  busy.write(request.slice(0, 50_000))
  // The second goes through Node's server, and what the third gets does not say that it is the last.
  const handedOver = connect(node.port, '127.0.0.1')
  let other = ''
  handedOver.on('data', chunk => (other += chunk.toString()))
  handedOver.write('PUT /dev1/name HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel')
  writeFileSync(join(node.root, 'dev1', 'large'), Buffer.alloc(32 * 1024 * 1024))
  const reader = connect(node.port, '127.0.0.1')
  reader.write('GET /dev1/large HTTP/1.1\r\nHost: a\r\n\r\n')
  await new Promise(resolve => reader.once('readable', resolve))
  await until('the uploads have begun', () => filesBelow(node.root).length === 4)
  const closed = node.close()
  await new Promise(resolve => idle.once('close', resolve))
  const startedAt = performance.now()
  busy.write(request.slice(50_000))
  handedOver.write('lo')
  t.ok((await buffer(reader)).length > 32 * 1024 * 1024, 'a download ends whole')
  await closed
  t.match(answer, /^HTTP\/1\.1 201 [^]*\r\nConnection: close\r\n/)
  t.match(other, /^HTTP\/1\.1 201 [^]*\r\nconnection: close\r\n/)
  t.ok(performance.now() - startedAt < 10_000, 'nobody is waited for who has their answer')
})

t.test('an upload that breaks off behind another request ends when its client does', async t => {
  const node = await startNode(t, { root: t.testdir(), devices: [1] })
  const put = (fid: number, length: number, body: string): string =>
    `PUT ${replicaPath({ devid: 1, fid })} HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n${body}`
  const answers = await exchange(node.port, put(1, 5, 'hello') + put(2, 100_000, 'be'), true)
  // 408 would have come when it has been silent for long.
  t.match(answers, /^HTTP\/1\.1 201 [\s\S]*HTTP\/1\.1 400 /)
})
