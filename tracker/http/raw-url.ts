/** Keys are bytes, so they are read from the URL as it was sent, not as a parser understood it. */
import { CodedError } from '../../common/errors.ts'
import { decodeKey } from '../../common/keys.ts'

/** The bytes of a query parameter; undefined when it is absent. Throws bad_request when given twice. */
export function queryBytes(url: string, name: string): Buffer | undefined {
  const at = url.indexOf('?')
  if (at < 0) return undefined
  const values = url
    .slice(at + 1)
    .split('&')
    .filter(pair => pair === name || pair.startsWith(`${name}=`))
  if (values.length > 1) throw new CodedError('bad_request', `${name} is given twice`)
  const [value] = values
  // As browsers write query strings: a plus is a space.
  return value === undefined
    ? undefined
    : decodeKey(value.slice(name.length + 1).replaceAll('+', '%20'))
}

const fileRoute = /^(\/v1\/domains\/[^/?]*\/(?:files|locations)\/)([^?]*)(.*)$/

/** The key of a file route: `?key=`, else what stands behind `/files/` or `/locations/`. */
export function keyOf(url: string): Buffer {
  return queryBytes(url, 'key') ?? decodeKey(fileRoute.exec(url)?.[2] ?? '')
}

/** The URL of a file route without its key, for a router that takes paths to be UTF-8. */
export function withoutKey(url: string): string {
  return url.replace(fileRoute, '$1$3')
}
