/**
 * Files as an Express route; also for connect, polka and whatever else hands on Node's own objects.
 *
 * @module omgfiles/adapters/express
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { answerFile, type Served } from '../answer-file.ts'
import { isCoded } from '../../common/errors.ts'
import type { Key } from '../tracker-api/index.ts'

/** What to serve, and how. */
export interface ServeOptions<Request> {
  /** The key that a request asks for; undefined: it is for the next handler. */
  readonly key: (request: Request) => Key | undefined | Promise<Key | undefined>
  /** Further fields of the answer, such as `cache-control`. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * A handler that answers GET and HEAD with a file: behind the reproxy with header fields only,
 * without it with the bytes. What is not there goes to the next handler, what fails to the error
 * handler.
 *
 * ```ts
 * app.get('/pictures/*path', serveFiles(files, { key: request => request.params.path.join('/') }))
 * ```
 */
export function serveFiles<Request extends IncomingMessage>(
  files: Served,
  { key: keyOf, headers }: ServeOptions<Request>,
): (request: Request, reply: ServerResponse, next: (err?: unknown) => void) => Promise<void> {
  return async (request, reply, next) => {
    try {
      const isRead = request.method === 'GET' || request.method === 'HEAD'
      const key = isRead ? await keyOf(request) : undefined
      if (key === undefined) {
        next()
        return
      }
      const answer = await answerFile(files, key, request)
      reply.writeHead(answer.status, { ...answer.headers, ...headers })
      if (!answer.body) reply.end()
      // A client that leaves ends the read; a read that fails breaks the connection.
      else await pipeline(answer.body, reply).catch(() => reply.destroy())
    } catch (err) {
      next(isCoded(err, 'unknown_key') ? undefined : err)
    }
  }
}
