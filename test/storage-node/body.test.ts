import { createServer, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { isCoded } from '../../common/errors.ts'
import { readBody, type Patience } from '../../storage-node/writing/body.ts'

/** Reads one upload of 1,000 bytes with `patience`; answers with its size or the error's code. */
async function upload(
  t: Test,
  patience: Patience,
  send: (socket: Socket) => void,
): Promise<string> {
  let outcome: (verdict: string) => void
  const verdict = new Promise<string>(resolve => (outcome = resolve))
  const read = async (request: IncomingMessage): Promise<string> => {
    let size = 0
    try {
      for await (const chunk of readBody(request, patience)) size += chunk.length
      return String(size)
    } catch (err) {
      return isCoded(err) ? err.code : String(err)
    }
  }
  const server = createServer((request, response) => {
    void read(request).then(text => {
      outcome(text)
      response.end()
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => {
    socket.destroy()
    server.close()
  })
  socket.write('PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n')
  send(socket)
  return verdict
}

/** Sends a byte every few milliseconds until the socket is gone. */
function dribble(socket: Socket): void {
  const timer = setInterval(() => socket.write('x'), 5)
  socket.on('close', () => clearInterval(timer))
}

const patient = { gapMs: 10_000, graceMs: 10_000, minBytesPerSecond: 1024 }

void t.test('a body that comes is read', async t => {
  t.equal(await upload(t, patient, socket => socket.write('x'.repeat(1000))), '1000')
})

void t.test('a body that stops coming is given up', async t => {
  const patience = { ...patient, gapMs: 50 }
  t.equal(await upload(t, patience, socket => socket.write('x')), 'request_timeout')
})

void t.test('a body that dribbles is given up after the grace, not before', async t => {
  const impatient = { ...patient, graceMs: 50, minBytesPerSecond: 1_000_000 }
  t.equal(await upload(t, impatient, dribble), 'request_timeout')
  t.equal(await upload(t, { ...impatient, minBytesPerSecond: 1 }, dribble), '1000')
})

void t.test('a body whose sender leaves ends as an error', async t => {
  const leave = (socket: Socket): void => {
    socket.write('x', () => socket.destroy())
  }
  t.equal(await upload(t, patient, leave), 'bad_request')
})
