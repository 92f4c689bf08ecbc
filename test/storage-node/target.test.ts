import t from 'tap'
import { isCoded } from '../../common/errors.ts'
import { parseTarget } from '../../storage-node/http/target.ts'

const long = 'a'.repeat(255)

const verdicts: [path: string, verdict: string][] = [
  ['/', 'root'],
  ['//', 'root'],
  ['/dev1', 'dev1 "" directory'],
  ['/dev1/', 'dev1 "" directory'],
  ['//dev1/usage', 'dev1 "usage"'],
  ['/dev2147483647/usage', 'dev2147483647 "usage"'],
  ['/dev5/0/000/148/0000148056.fid', 'dev5 "0/000/148/0000148056.fid" fid 148056'],
  ['/dev5/1/234/567/1234567890.fid', 'dev5 "1/234/567/1234567890.fid" fid 1234567890'],
  ['/dev5/3/001/002/30010023383333458.fid', 'dev5 "3/001/002/30010023383333458.fid"'],
  ['/dev5/5/204/870/52048709162819278.fid', 'dev5 "5/204/870/52048709162819278.fid"'],
  ['/dev5/9/223/372/9223372036854775807.fid', 'dev5 "9/223/372/9223372036854775807.fid"'],
  ['/dev5/9/223/372/9223372036854775808.fid', 'bad_path'],
  ['/dev5/3/001/003/30010023383333458.fid', 'bad_path'],
  ['/dev5/0/300/100/030010023383333458.fid', 'bad_path'],
  ['/dev1/0/000/', 'dev1 "0/000" directory'],
  ['/dev1/test-write/test-write-12', 'dev1 "test-write/test-write-12"'],
  ['/dev1/.tmp/x.tmp', 'dev1 ".tmp/x.tmp" hidden'],
  ['/dev1/a/.b', 'dev1 "a/.b" hidden'],
  ['/dev1/quarantine/0000000001.fid.1', 'dev1 "quarantine/0000000001.fid.1" hidden'],
  ['/dev1/quarantine/', 'dev1 "quarantine" directory hidden'],
  ['/dev1/quarantined', 'dev1 "quarantined"'],
  [`/dev1/${long}`, `dev1 "${long}"`],
  [`/dev1/${long}a`, 'bad_path'],
  [`/dev1/${`${long}/`.repeat(4)}x`, 'bad_path'],
  ['', 'bad_path'],
  ['*', 'bad_path'],
  ['dev1/usage', 'bad_path'],
  ['///dev1/usage', 'bad_path'],
  ['/dev1//usage', 'bad_path'],
  ['/dev1/usage//', 'bad_path'],
  ['/dev1/../dev2/x', 'bad_path'],
  ['/dev1/a..b', 'bad_path'],
  ['/dev1/./x', 'bad_path'],
  ['/dev1/.', 'bad_path'],
  ['/dev1/%2e%2e/x', 'bad_path'],
  ['/dev1/..%2fx', 'bad_path'],
  ['/dev1/%252e', 'bad_path'],
  ['/dev1/a%00', 'bad_path'],
  ['/dev1/a\\b', 'bad_path'],
  ['/dev1/a;b', 'bad_path'],
  ['/dev1/a\u0000b', 'bad_path'],
  ['/dev1/a\nb', 'bad_path'],
  ['/dev1/usage\n', 'bad_path'],
  ['/dev1/\u00e9', 'bad_path'],
  ['/x', 'bad_path'],
  ['/dev-1/x', 'bad_path'],
  ['/dev/x', 'bad_path'],
  ['/devil/x', 'bad_path'],
  ['/dev1/0/000/001/0000000001.fid', 'bad_path'],
  ['/dev1/0/000/000/1.fid', 'bad_path'],
  ['/dev1/0/000/000/0000000001.fid/', 'bad_path'],
  ['/dev1/0000000001.fid', 'bad_path'],
  ['/dev1/9/999/999/99999999999999999999.fid', 'bad_path'],
  ['/dev0/usage', 'no_such_device'],
  ['/dev01/usage', 'no_such_device'],
  ['/dev2147483648/usage', 'no_such_device'],
  ['/dev99999999999/usage', 'no_such_device'],
]

function verdict(path: string): string {
  try {
    const target = parseTarget(path)
    if (!target) return 'root'
    const { devid, path: below, directory, hidden, fid } = target
    const notes = [directory && 'directory', hidden && 'hidden', fid !== undefined && `fid ${fid}`]
    return [`dev${devid}`, JSON.stringify(below), ...notes.filter(Boolean)].join(' ')
  } catch (err) {
    return isCoded(err) ? err.code : String(err)
  }
}

void t.test('a path is taken only when it is spelled as we would spell it', t => {
  for (const [path, expected] of verdicts) t.equal(verdict(path), expected, JSON.stringify(path))
  t.end()
})
