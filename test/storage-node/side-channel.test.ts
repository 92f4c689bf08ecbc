import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLogger } from '../../common/log.ts'
import { replicaPath } from '../../common/layout.ts'
import { createStorageNode } from '../../storage-node/index.ts'
import { startDaemon } from './daemon.ts'
import { until } from '../helpers/until.ts'
import { startNode, type TestNode } from './node.ts'

const path = replicaPath({ devid: 1, fid: 7 })

/** Sends lines and collects what comes back until there are `count` lines or the end. */
function ask(port: number, text: string, count: number, host = '127.0.0.1'): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, host, () => socket.write(text))
    let answer = ''
    const end = (): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.on('error', reject)
    socket.on('close', end)
    socket.on('data', chunk => {
      answer += chunk.toString('latin1')
      if (answer.split('\n').length > count) end()
    })
  })
}

async function startWithFile(t: Test): Promise<TestNode> {
  const node = await startNode(t)
  await node.send('PUT', path, { body: 'hello' })
  return node
}

void t.test('sizes and digests are told in the order of the questions', async t => {
  const node = await startWithFile(t)
  const hex = (algorithm: string): string => createHash(algorithm).update('hello').digest('hex')
  const questions: [question: string, answer: string][] = [
    [`size ${path}`, `${path} 5`],
    ['size /dev1/0/000/000/0000000008.fid', '/dev1/0/000/000/0000000008.fid -1'],
    ['size /dev9/x', '/dev9/x -1'],
    ['size nonsense', 'nonsense -1'],
    ['size /dev1/../x', 'ERROR: uri invalid (contains ..)'],
    [`MD5 ${path}`, `${path} MD5=${hex('md5')}`],
    [`SHA-1 ${path} fsck`, `${path} SHA-1=${hex('sha1')}`],
    [`MD5 ${path} replicate`, `${path} MD5=${hex('md5')}`],
    ['MD5 /dev1/x', '/dev1/x MD5=-1'],
    ['SHA-1 /dev1/../x', 'ERROR: uri invalid (contains ..)'],
    [`md5 ${path}`, `ERROR: unknown command: md5 ${path}`],
    ['size', 'ERROR: unknown command: size'],
    [`size ${path} fsck`, `ERROR: unknown command: size ${path} fsck`],
    ['MD5', 'ERROR: unknown command: MD5'],
    [`MD5 ${path} two words`, `ERROR: unknown command: MD5 ${path} two words`],
    ['server aio_threads = 4', 'OK'],
    ['server aio_threads = many', 'ERROR: unknown command: server aio_threads = many'],
    ['toString', 'ERROR: unknown command: toString'],
  ]
  const text = `${questions.map(([question]) => question).join('\r\n\r\n')}\n`
  const answers = await ask(node.sidePort, text, questions.length)
  t.same(
    answers.split('\r\n').slice(0, -1),
    questions.map(([, answer]) => answer),
  )
})

void t.test('a line without an end is cut off', async t => {
  const node = await startNode(t)
  t.equal(await ask(node.sidePort, 'x'.repeat(8193), 1), '')
  t.equal(await ask(node.sidePort, 'size x\n', 1), 'x -1\r\n', 'and the next one is served')
})

void t.test('watch tells of every device, again and again', async t => {
  const node = await startNode(t)
  const blocks = await ask(node.sidePort, 'watch\nsize x\n', 6)
  t.match(blocks, /^1\t(-|\d+)\n2\t(-|\d+)\n\.\n1\t(-|\d+)\n2\t/)
})

void t.test('shutdown ends the daemon', async t => {
  const root = t.testdir({ dev1: {} })
  const node = await startDaemon(t, root)
  const ended = new Promise(resolve => node.child.on('exit', resolve))
  t.match(await ask(node.sidePort, 'shutdown graceful\n', 1), /^OK/)
  t.equal(await ended, 0)
})

const elsewhere = Object.values(networkInterfaces())
  .flat()
  .find(address => address?.family === 'IPv4' && !address.internal)?.address

void t.test(
  'strangers are not answered, and guests cannot end the daemon',
  { skip: elsewhere === undefined && 'needs an address beside loopback' },
  async t => {
    const root = t.testdir({ dev1: {} })
    const start = async (sideAllow: string): Promise<number> => {
      const settings = { listen: '127.0.0.1:0', sideListen: '0.0.0.0:0', sideAllow }
      const node = createStorageNode(
        { ...settings, root, name: 'n', secret: 'x'.repeat(32), open: false, logLevel: 'silent' },
        createLogger('test', { level: 'silent' }),
      )
      await node.start()
      t.teardown(() => node.close())
      return Number(node.listening()['side']?.split(':').at(-1))
    }
    const closed = await start('')
    t.equal(await ask(closed, 'size x\n', 1), 'x -1\r\n', 'loopback is at home')
    const refused = await ask(closed, 'size x\n', 1, elsewhere).catch(() => '')
    t.equal(refused, '')
    const guests = await start(`10.255.255.0/30,${elsewhere}`)
    t.equal(await ask(guests, 'size x\n', 1, elsewhere), 'x -1\r\n')
    t.equal(await ask(guests, 'shutdown\n', 1, elsewhere), 'ERROR: not allowed\r\n')
  },
)

void t.test('a subscriber that goes away leaves nothing behind', async t => {
  const node = await startNode(t)
  for (let i = 0; i < 3; i++) await ask(node.sidePort, 'watch\n', 1)
  writeFileSync(join(node.root, 'dev1', 'x'), 'x')
  let answer = ''
  void ask(node.sidePort, 'size /dev1/x\n', 1).then(text => (answer = text))
  await until('it still answers', () => answer !== '')
  t.equal(answer, '/dev1/x 1\r\n')
})
