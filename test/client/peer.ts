/** A scripted HTTP server at the other side of the socket. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface Peer {
  readonly url: string
  readonly server: Server
}

/** Starts a server that answers with `listener`; it ends, with all its connections, with the test. */
export async function startPeer(
  t: Test,
  listener: (request: IncomingMessage, reply: ServerResponse) => unknown,
): Promise<Peer> {
  const server = createServer((request, reply) => void listener(request, reply))
  server.listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** The URL of a port that nothing listens on. */
export async function deadUrl(): Promise<string> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return `http://127.0.0.1:${port}`
}

export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** Resolves once `condition` holds; gives up after five seconds. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error('the condition never held')
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
