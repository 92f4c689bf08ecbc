/**
 * Methods beyond those that node's parser knows: there may be any (RFC 9110 §16.1), and what they mean
 * is the application's business.
 */
import { METHODS } from 'node:http'

const known: ReadonlySet<string> = new Set(METHODS)

/** What the parser reads instead: a body is framed alike for both. */
export const standIn = 'POST'

/**
 * The method that a request begins with when node's parser does not know it. The preface of HTTP/2 is
 * no request.
 */
export function unknownMethod(bytes: Buffer): string | undefined {
  const [, method] =
    /^([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) /.exec(bytes.toString('latin1', 0, 65)) ?? []
  return method === undefined || known.has(method) || method === 'PRI' ? undefined : method
}
