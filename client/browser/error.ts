import type { ErrorCode } from '../../common/errors.ts'

/** An upload that failed. `code` is for programs, the storage node's own where it has answered. */
export class UploadError extends Error {
  override readonly name = 'UploadError'
  /** Stable: what a program decides by. */
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }
}
