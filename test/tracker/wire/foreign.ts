/** A storage node that is not ours: any WebDAV server, with the habits that such servers have. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface ForeignNode {
  readonly port: number
  /** What it was asked, `METHOD /path`, oldest first; PUTs with their Content-MD5 and body. */
  readonly requests: { line: string; md5: string | undefined; body: string }[]
  /** The usage file that every device has. */
  usage: string
  /** The status of every MKCOL; 2xx makes the directory. */
  mkcol: number
  /** It takes requests by this method and never answers. */
  silentTo?: string
  /** A PUT needs its directory, as with Apache. */
  needsDirectories: boolean
}

/** Starts it; it ends with `t`. It looks at no digest. */
export async function startForeignNode(t: Test): Promise<ForeignNode> {
  const files = new Map<string, Buffer>()
  const directories = new Set<string>()
  const server = createServer((request, response) => {
    const { method = '', url: path = '' } = request
    const end = (status: number, body?: Buffer | string): void => {
      response.writeHead(status, { 'content-length': Buffer.byteLength(body ?? '') })
      response.end(method === 'HEAD' ? undefined : body)
    }
    const answer = (sent: Buffer): void => {
      const md5 = request.headers['content-md5']
      node.requests.push({ line: `${method} ${path}`, md5: md5?.toString(), body: sent.toString() })
      // As Perlbal does it.
      if (path.includes('?')) return end(400)
      if (method === node.silentTo) return
      const parent = path.slice(0, path.lastIndexOf('/') + 1)
      switch (method) {
        case 'MKCOL':
          if (node.mkcol < 300) directories.add(path.endsWith('/') ? path : `${path}/`)
          return end(node.mkcol)
        case 'PUT':
          if (node.needsDirectories && !directories.has(parent)) return end(409)
          files.set(path, sent)
          return end(201)
        case 'DELETE':
          return end(files.delete(path) ? 204 : 404)
        default: {
          if (path === '/') return end(200, 'It works!')
          const found = path.endsWith('/usage') ? node.usage : files.get(path)
          return found === undefined ? end(404) : end(200, found)
        }
      }
    }
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => answer(Buffer.concat(chunks)))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const node: ForeignNode = {
    port: (server.address() as AddressInfo).port,
    requests: [],
    usage: 'total: 1000000\nused: 10\n',
    mkcol: 201,
    needsDirectories: false,
  }
  return node
}
