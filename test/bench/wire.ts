/** A client of the line protocol with one request under way at a time. */
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'

export interface WireClient {
  /** Sends a line and resolves with its answer. */
  ask(line: string): Promise<string>
  close(): void
}

/** Connects to `HOST:PORT`. */
export async function connectWire(address: string): Promise<WireClient> {
  const [host, port] = address.split(':')
  const socket: Socket = connect(Number(port), host)
  await once(socket, 'connect')
  socket.setNoDelay(true).setEncoding('latin1')
  let buffered = ''
  let answer: ((line: string) => void) | undefined
  socket.on('data', (text: string) => {
    buffered += text
    const end = buffered.indexOf('\r\n')
    if (end < 0) return
    const line = buffered.slice(0, end)
    buffered = buffered.slice(end + 2)
    answer?.(line)
  })
  return {
    ask(line) {
      return new Promise(resolve => {
        answer = resolve
        socket.write(`${line}\r\n`, 'latin1')
      })
    },
    close: () => socket.destroy(),
  }
}
