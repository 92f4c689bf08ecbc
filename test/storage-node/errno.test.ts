import t from 'tap'
import { isCoded } from '../../common/errors.ts'
import { explain, hasErrno } from '../../storage-node/disk/errno.ts'

/** As Node has it: what libuv does not know has no name, and another one after each kind of call. */
const unknown = (errno: number, code = `Unknown system error ${errno}`): Error =>
  Object.assign(new Error(code), { errno, code })
const known = (code: string): Error => Object.assign(new Error(code), { code })

const verdicts: [err: Error, code: string][] = [
  [known('ENOSPC'), 'insufficient_storage'],
  [unknown(-122), 'insufficient_storage'], // EDQUOT
  [unknown(-122, 'UNKNOWN'), 'insufficient_storage'],
  [known('EDQUOT'), 'insufficient_storage'],
  [known('EROFS'), 'device_readonly'],
  [known('EACCES'), 'device_readonly'],
  [known('EIO'), 'device_failed'],
  [known('ENODEV'), 'device_failed'],
  [unknown(-117), 'device_failed'], // EUCLEAN
  [unknown(-74, 'UNKNOWN'), 'device_failed'], // EBADMSG
  [known('EISDIR'), 'bad_path'],
  [known('ELOOP'), 'not_regular'],
  [known('EMFILE'), 'overloaded'],
]

void t.test('what the system says of a disk is told by a code of its own', t => {
  for (const [err, code] of verdicts) {
    const found = explain(err, 1)
    t.ok(isCoded(found) && found.code === code, `${err.message}: ${code}`)
  }
  const other = known('EINVAL')
  t.equal(explain(other, 1), other, 'what is nobody’s fault but ours stays as it is')
  t.ok(hasErrno(unknown(-122), 'ENOSPC', 'EDQUOT'))
  t.notOk(hasErrno(undefined, 'ENOENT'))
  t.end()
})
