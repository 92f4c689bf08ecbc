/**
 * Serves files from a Fastify route.
 *
 * @module omgfiles/adapters/fastify
 */
import type { FastifyReply, FastifyRequest, RouteGenericInterface } from 'fastify'
import { Readable } from 'node:stream'
import { answerFile, type Served } from '../answer-file.ts'
import type { Key } from '../tracker-api/index.ts'

/** What to serve, and how. */
export interface ServeOptions<Request> {
  /** The key that a request asks for. */
  readonly key: (request: Request) => Key | Promise<Key>
  /** More header fields for the answer, such as `cache-control`. */
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * A handler that answers GET and HEAD with a file: behind the reproxy with header fields only, otherwise
 * with the bytes. It throws the errors of `files`, which Fastify answers with their status.
 *
 * ```ts
 * app.get('/pictures/*', serveFiles(files, { key: request => request.params['*'] }))
 * ```
 */
export function serveFiles<Route extends RouteGenericInterface>(
  files: Served,
  { key, headers = {} }: ServeOptions<FastifyRequest<Route>>,
): (request: FastifyRequest<Route>, reply: FastifyReply) => Promise<FastifyReply> {
  return async (request, reply) => {
    const answer = await answerFile(files, await key(request), request)
    reply.code(answer.status).headers({ ...answer.headers, ...headers })
    // Fastify would set the length of an empty body; it leaves that of a stream as it is.
    return reply.send(answer.body ?? (request.method === 'HEAD' ? Readable.from([]) : undefined))
  }
}
