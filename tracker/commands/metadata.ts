import { CodedError } from '../../common/errors.ts'
import type { Metadata } from '../../common/protocol/files.ts'

/** Most bytes of user metadata per file, names and values together. */
const maxBytes = 8 * 1024

// eslint-disable-next-line no-control-regex -- these are what a header must not hold
const unsafe = /[\r\n\0]/

/** Throws bad_metadata for what could not be sent as a header, or is too much. */
export function checkMetadata({
  contentType,
  metadata,
}: {
  readonly contentType?: string | null
  readonly metadata?: Metadata
}): void {
  if (contentType && unsafe.test(contentType)) {
    throw new CodedError('bad_metadata', 'the content type holds a line break or NUL')
  }
  let bytes = 0
  for (const [name, value] of Object.entries(metadata ?? {})) {
    if (unsafe.test(name) || unsafe.test(value)) {
      throw new CodedError('bad_metadata', `${JSON.stringify(name)} holds a line break or NUL`)
    }
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value)
  }
  if (bytes > maxBytes) {
    throw new CodedError('bad_metadata', `metadata has at most ${maxBytes} bytes, not ${bytes}`)
  }
}
