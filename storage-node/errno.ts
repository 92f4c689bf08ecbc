/** What the operating system says when a file operation fails, as codes of ours. */
import { CodedError } from '../common/errors.ts'

/** True when `err` is a system error with one of these names (`ENOENT`). */
export function hasErrno(err: unknown, ...names: string[]): boolean {
  const { code } = (err ?? {}) as { code?: unknown }
  return typeof code === 'string' && names.includes(code)
}

/** The failure to answer with; anything that is not the disk's or the path's doing stays as it is. */
export function explain(err: unknown, devid: number): unknown {
  if (err instanceof CodedError) return err
  const because = { cause: err }
  const { code = '' } = err as { code?: string }
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new CodedError('insufficient_storage', `dev${devid} is full`, because)
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new CodedError('device_readonly', `dev${devid} does not let us`, because)
    case 'EIO':
    case 'ETIMEDOUT':
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
