/**
 * Serves files from an Express route, or from connect, polka and others that use Node's own objects.
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
  /** The key that a request asks for; undefined passes the request on to the next handler. */
  readonly key: (request: Request) => Key | undefined | Promise<Key | undefined>
  /** More header fields for the answer, such as `cache-control`. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * A handler that answers GET and HEAD with a file: behind the reproxy with header fields only, otherwise
 * with the bytes. When the key does not exist, the next handler gets the request; other failures go to
 * the error handler.
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
      // If the client leaves, the read ends. If the read fails, the connection is broken off.
      else await pipeline(answer.body, reply).catch(() => reply.destroy())
    } catch (err) {
      next(isCoded(err, 'unknown_key') ? undefined : err)
    }
  }
}
