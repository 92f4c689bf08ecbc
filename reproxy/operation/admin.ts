/** What operators and their tools ask: whether it lives, whether it takes requests, figures, a status page. */
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { Address } from '../../common/config.ts'
import type { Service } from '../../common/daemon.ts'

/** A table of the status page. */
export interface StatusTable {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly (string | number)[])[]
}

export interface AdminSources {
  /** False while it drains. */
  ready(): boolean
  /** In the text format of Prometheus. */
  metrics(): Promise<string>
  status(): readonly StatusTable[] | Promise<readonly StatusTable[]>
}

export interface Admin extends Service {
  readonly address: Address
}

/** Creates the listener for operators. It has no authentication: bind it where only they are. */
export function createAdmin(listen: Address, sources: AdminSources): Admin {
  const server: Server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 })
  server.maxConnections = 256
  server.on('request', (req, res) => {
    const send = (status: number, body: string, type = 'text/plain; charset=utf-8'): void => {
      res.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' })
      res.end(req.method === 'HEAD' ? undefined : body)
    }
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      res.setHeader('Allow', 'GET, HEAD')
      send(405, 'Method Not Allowed\n')
      return
    }
    answer(req.url?.split('?', 1)[0] ?? '', send).catch(() => failed(res))
  })

  async function answer(
    path: string,
    send: (status: number, body: string, type?: string) => void,
  ): Promise<void> {
    switch (path) {
      case '/healthz':
        return send(200, 'ok\n')
      case '/readyz':
        return sources.ready() ? send(200, 'ready\n') : send(503, 'not ready\n')
      case '/metrics':
        return send(200, await sources.metrics(), 'text/plain; version=0.0.4; charset=utf-8')
      case '/status.json':
        return send(200, JSON.stringify(await sources.status()), 'application/json')
      case '/':
        return send(200, statusPage(await sources.status()), 'text/html; charset=utf-8')
      default:
        return send(404, 'Not Found\n')
    }
  }

  return {
    async start() {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ ...listen }, () => {
          server.off('error', reject)
          resolve()
        })
      })
    },
    async close() {
      if (!server.listening) return
      await new Promise<void>(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
    },
    get address() {
      const bound = server.address()
      if (!bound || typeof bound === 'string') throw new Error('not listening')
      return { host: bound.address, port: bound.port }
    },
  }
}

function failed(res: ServerResponse): void {
  if (!res.headersSent) res.writeHead(500)
  res.end()
}

const escape = (value: string | number): string =>
  String(value).replace(/[<>&"]/g, char => `&#${char.charCodeAt(0)};`)

function statusPage(tables: readonly StatusTable[]): string {
  const cells = (tag: string, row: readonly (string | number)[]): string =>
    `<tr>${row.map(cell => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`
  const body = tables.map(
    ({ title, columns, rows }) =>
      `<h2>${escape(title)}</h2><table>${cells('th', columns)}${rows.map(row => cells('td', row)).join('')}</table>`,
  )
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>reproxy</title>
<style>body{font:14px system-ui;margin:2em}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}</style>
<h1>reproxy</h1>${body.join('\n')}</html>\n`
}
