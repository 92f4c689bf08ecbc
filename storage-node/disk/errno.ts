/** What the operating system says when a file operation fails, as codes of ours. */
import { CodedError } from '../../common/errors.ts'

/** What libuv has no names for, as Linux numbers them on all that Node runs on. */
const unnamed: Readonly<Record<number, string>> = { 74: 'EBADMSG', 117: 'EUCLEAN', 122: 'EDQUOT' }

/** The name of a system error (`ENOENT`); of anything else its own `code`, or none: an empty one. */
export function errnoOf(err: unknown): string {
  const { errno, code } = (err ?? {}) as { errno?: unknown; code?: unknown }
  return unnamed[-Number(errno)] ?? (typeof code === 'string' ? code : '')
}

/** True when `err` is a system error with one of these names. */
export function hasErrno(err: unknown, ...names: string[]): boolean {
  return names.includes(errnoOf(err))
}

/** True when `err` is what the system said to this call (`read`). */
export function isOfCall(err: unknown, syscall: string): boolean {
  return (err as { syscall?: unknown } | undefined)?.syscall === syscall
}

/** The failure to answer with; anything that is not the disk's or the path's doing stays as it is. */
export function explain(err: unknown, devid: number): unknown {
  if (err instanceof CodedError) return err
  const because = { cause: err }
  switch (errnoOf(err)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new CodedError('insufficient_storage', `dev${devid} is full`, because)
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new CodedError('device_readonly', `dev${devid} denies access`, because)
    case 'EIO':
    case 'ETIMEDOUT':
    // Structures of the file system that do not hold together, and devices that are gone or broken.
    case 'EBADMSG':
    case 'EUCLEAN':
    case 'ENODATA':
    case 'ENODEV':
    case 'EREMOTEIO':
      return new CodedError('device_failed', `dev${devid} has failed`, because)
    case 'ENOTDIR':
    case 'EISDIR':
      return new CodedError('bad_path', 'a file is where a directory should be, or the reverse')
    case 'ENAMETOOLONG':
      return new CodedError('bad_path', 'the file system does not take so long a name')
    case 'ELOOP':
    case 'ENXIO':
      return new CodedError('not_regular', 'only regular files are served')
    case 'EMFILE':
    case 'ENFILE':
      return new CodedError('overloaded', 'too many open files', because)
    default:
      return err
  }
}

/** What is asked for is not there. */
export const notFound = (): CodedError => new CodedError('not_found', 'no such file')

/** Throws `err`, and not_found where that says that a name is not there. */
export function absentIsNotFound(err: unknown): never {
  throw hasErrno(err, 'ENOENT', 'ENOTDIR') ? notFound() : err
}
