import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { startNode, statusAndCode } from './node.ts'

const path = replicaPath({ devid: 1, fid: 7 })
const get = `GET ${path} HTTP/1.1\r\nHost: a\r\n`

/** What is sent, and then a byte of it every half second. */
const clients: [what: string, first: string, dribble: string][] = [
  ['no byte at all', '', ''],
  ['a part of a request line', 'GET /de', ''],
  ['a head without its end', get, ''],
  ['a head of a PUT without its end', `PUT ${path} HTTP/1.1\r\nContent-Length: 5\r\n`, ''],
  ['a head that dribbles', 'GET / HTTP/1.1\r\nHost: ', 'a'],
  ['a part of a second request', `${get}\r\nGET /de`, ''],
]

void t.test('a head that is not complete after ten seconds is given up', async t => {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'x' })
  const answers = clients.map(async ([what, first, dribble]) => {
    const socket = connect(node.port, '127.0.0.1').on('error', () => {})
    const startedAt = performance.now()
    socket.write(first)
    const timer = setInterval(() => socket.write(dribble), 500)
    const answer = await text(socket)
    clearInterval(timer)
    const ms = performance.now() - startedAt
    const last = answer.slice(answer.lastIndexOf('HTTP/1.1 '))
    t.equal(statusAndCode(last), '408 request_timeout', what)
    t.match(last, /\r\nconnection: close\r\n/i, what)
    t.ok(ms > 9_000, `${what}: not before, but after ${ms} ms`)
  })
  t.equal((await node.send('GET', path)).status, 200, 'others are served meanwhile')
  await Promise.all(answers)
})
