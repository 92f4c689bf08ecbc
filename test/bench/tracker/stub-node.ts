import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Bytes of every file that a stub node claims to have. */
export const stubSize = 1

export interface StubNode {
  readonly port: number
  readonly close: () => Promise<void>
}

/**
 * A storage node without a disk: every file is there and `stubSize` bytes long, and what is put to
 * `test-write/` comes back. With it a benchmark of the tracker measures the tracker.
 */
export async function startStubNode(): Promise<StubNode> {
  const written = new Map<string, Buffer>()
  const server = createServer((req, res) => {
    const path = req.url?.split('?', 1)[0] ?? ''
    if (req.method === 'PUT') {
      void req.toArray().then(chunks => {
        written.set(path, Buffer.concat(chunks))
        res.writeHead(201).end()
      })
    } else if (path.endsWith('/usage')) {
      res.end('total: 1000000000\nused: 1000\navailable: 999999000\n')
    } else if (req.method === 'HEAD') {
      res.writeHead(200, { 'content-length': stubSize }).end()
    } else if (req.method === 'GET') {
      res.end(written.get(path) ?? 'x')
    } else {
      // As ours, it makes directories by itself.
      res.writeHead(req.method === 'MKCOL' ? 400 : 204).end()
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
