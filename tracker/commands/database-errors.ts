/** Errors of the database that no command has a word for, under the codes of the line protocol. */
import { CodedError, isCoded } from '../../common/errors.ts'
import { isUniqueViolation } from '../store/db.ts'

/** db where the database cannot be had, dup where it knows already what is to be new; else `err`. */
export function asDatabaseError(err: unknown): unknown {
  if (isCoded(err, 'database_unavailable')) return new CodedError('db', err.message, { cause: err })
  if (isUniqueViolation(err)) return new CodedError('dup', 'it is there already', { cause: err })
  return err
}
