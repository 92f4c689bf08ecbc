import { CodedError } from '../../common/errors.ts'

/** Deepest nesting of a JSON body. */
const maxDepth = 32

/** Half a surrogate pair: JSON can spell it, UTF-8 cannot. */
const loneSurrogate = /\p{Surrogate}/u

/**
 * Throws bad_request for a body that is nested too deep, holds text that is no Unicode, or uses names
 * which mean something to JavaScript objects.
 */
export function checkJson(value: unknown, depth = 1): void {
  if (typeof value === 'string' && loneSurrogate.test(value)) {
    throw new CodedError('bad_request', 'half a surrogate pair is no text')
  }
  if (typeof value !== 'object' || value === null) return
  if (depth > maxDepth) throw new CodedError('bad_request', `nested deeper than ${maxDepth} levels`)
  for (const [name, inner] of Object.entries(value)) {
    if (name === '__proto__' || name === 'constructor') {
      throw new CodedError('bad_request', `${name} is no name for a field`)
    }
    checkJson(name, depth)
    checkJson(inner, depth + 1)
  }
}
