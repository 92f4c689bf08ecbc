/** What an application asks of the proxy in its response. */
import { valueOf, valuesOf, type Field } from '../http/headers.ts'

export type Directive =
  | { readonly kind: 'none' }
  | { readonly kind: 'file'; readonly path: string; readonly expectedSize: number | undefined }
  | { readonly kind: 'service'; readonly name: string }
  | { readonly kind: 'url'; readonly list: string; readonly expectedSize: number | undefined }

/**
 * Reads the X-Reproxy-* fields: File before URL before Service, empty ones being absent. Several URL
 * lines are one list. An expected size that is not digits is ignored.
 */
export function directiveOf(received: readonly Field[]): Directive {
  const given = (name: string): string => valuesOf(received, name).join(' ').trim()
  const size = valueOf(received, 'x-reproxy-expected-size') ?? ''
  const expectedSize = /^\d{1,15}$/.test(size) ? Number(size) : undefined
  const path = given('x-reproxy-file')
  if (path !== '') return { kind: 'file', path, expectedSize }
  const list = given('x-reproxy-url')
  if (list !== '') return { kind: 'url', list, expectedSize }
  const name = given('x-reproxy-service')
  return name === '' ? { kind: 'none' } : { kind: 'service', name }
}
