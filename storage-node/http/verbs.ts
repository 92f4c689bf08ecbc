/** What may be asked of which target: what OPTIONS answers, and what else is refused with. */
import { batchNames } from './batch.ts'
import type { Target } from './target.ts'

/** Every verb that means something here. */
export const knownVerbs: ReadonlySet<string> = new Set([
  'GET',
  'HEAD',
  'PUT',
  'DELETE',
  'COPY',
  'MKCOL',
  'OPTIONS',
])

/** Names below a device that are answers, not files. */
const answers: ReadonlySet<string> = new Set(['usage', 'inventory'])

/** True for what no file can be: what is an answer, and what takes requests in lines. */
export const isReserved = (target: Target | undefined): boolean =>
  target === undefined || answers.has(target.path) || batchNames.has(target.path)

/**
 * True for what comes with a PUT: replicas, their directories, and that of trackers' test files.
 * MogileFS's trackers ask for each directory beforehand, until they are told not to.
 */
export const comesByItself = ({ path }: Target): boolean =>
  /^(?:\d(?:\/\d{3}){0,2}|test-write)$|\.fid$/.test(path)

/** The verbs that a target takes, as in an Allow field; undefined stands for `/`. */
export function allowedVerbs(target: Target | undefined): string {
  if (target && !target.hidden && batchNames.has(target.path)) return 'POST, OPTIONS'
  if (target === undefined || target.hidden || isReserved(target)) return 'GET, HEAD, OPTIONS'
  const { fid, directory, path } = target
  if (fid !== undefined) return 'GET, HEAD, PUT, DELETE, COPY, OPTIONS'
  const make = path === '' || comesByItself(target) ? [] : ['MKCOL']
  return [...(directory ? [] : ['GET', 'HEAD', 'PUT', 'DELETE']), ...make, 'OPTIONS'].join(', ')
}
