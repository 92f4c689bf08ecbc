/** The field by which an application lets its answer be kept: `X-Reproxy-Cache-For: 60; ETag Vary`. */
import { valuesOf, type Field } from '../http/headers.ts'

export interface CacheFor {
  readonly seconds: number
  /** Fields that are kept with the locations, in lower case. */
  readonly names: ReadonlySet<string>
}

/** Longest time an answer is kept. */
const maxSeconds = 366 * 86_400

/** Reads the field; undefined when there is none, for no time at all, or when it cannot be read. */
export function cacheForOf(received: readonly Field[]): CacheFor | undefined {
  const [value, ...more] = valuesOf(received, 'x-reproxy-cache-for')
  if (value === undefined || more.length > 0) return undefined
  const [, digits, list = ''] =
    /^(\d+)[ \t]*(?:;([ \t!#$%&'*+\-.^_`|~0-9A-Za-z]*))?$/.exec(value.trim()) ?? []
  const seconds = Math.min(Number(digits), maxSeconds)
  if (!(seconds > 0)) return undefined
  const names = list.toLowerCase().split(/[ \t]+/)
  return { seconds, names: new Set(names.filter(name => name !== '')) }
}
