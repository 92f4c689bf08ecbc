/** The pages, styles and scripts in `public/`, served from memory with entity tags. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { FastifyInstance, FastifyReply } from 'fastify'

/** Beside the sources: the package ships the folder as it is, only what is compiled lies in `dist`. */
const folder = join(import.meta.dirname, '../../../deploy/demo/public')

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

export interface PublicFiles {
  /** Answers with the file called `name`, or with 304 to a browser that has it. */
  send(reply: FastifyReply, name: string): FastifyReply
}

/** Reads the folder and adds a route for every file that is not a page, under `prefix`. */
export function publicFiles(app: FastifyInstance, prefix: string): PublicFiles {
  const files = new Map(
    readdirSync(folder).map(name => {
      const content = readFileSync(join(folder, name))
      const etag = `"${createHash('sha256').update(content).digest('base64url')}"`
      const type = types[extname(name)] ?? 'application/octet-stream'
      return [
        name,
        { content, headers: { etag, 'content-type': type, 'cache-control': 'no-cache' } },
      ]
    }),
  )
  const send = (reply: FastifyReply, name: string): FastifyReply => {
    const file = files.get(name)
    if (!file) throw new Error(`no public file ${name}`)
    reply.headers(file.headers)
    const known = reply.request.headers['if-none-match']?.includes(file.headers.etag)
    return known && reply.statusCode === 200 ? reply.code(304).send() : reply.send(file.content)
  }
  for (const name of files.keys()) {
    if (!name.endsWith('.html'))
      app.get(`${prefix}/${name}`, (_request, reply) => send(reply, name))
  }
  return { send }
}
