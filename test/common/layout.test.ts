import fc from 'fast-check'
import t from 'tap'
import { parseReplicaPath, replicaPath } from '../../common/layout.ts'

t.test('a replica lies where every MogileFS node has it', async t => {
  const rows: [fid: number, path: string][] = [
    [1, '/dev5/0/000/000/0000000001.fid'],
    [123, '/dev5/0/000/000/0000000123.fid'],
    [148056, '/dev5/0/000/148/0000148056.fid'],
    [1234567890, '/dev5/1/234/567/1234567890.fid'],
    [2147483632, '/dev5/2/147/483/2147483632.fid'],
    [12345678901, '/dev5/1/234/567/12345678901.fid'],
    [Number.MAX_SAFE_INTEGER, '/dev5/9/007/199/9007199254740991.fid'],
  ]
  for (const [fid, path] of rows) {
    t.equal(replicaPath({ devid: 5, fid }), path)
    t.strictSame(parseReplicaPath(path), { devid: 5, fid })
  }
})

t.test('every path is read back', async () => {
  const id = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
  fc.assert(
    fc.property(id, id, (devid, fid) => {
      const parsed = parseReplicaPath(replicaPath({ devid, fid }))
      return parsed?.devid === devid && parsed.fid === fid
    }),
  )
})

t.test('nothing but the path itself is one', async t => {
  const rows = [
    '/dev5/0/000/000/0000000123',
    '/dev5/0/000/000/123.fid',
    '/dev5/0/000/001/0000000123.fid',
    '/dev5/1/000/000/0000000123.fid',
    '/dev05/0/000/000/0000000123.fid',
    '/dev0/0/000/000/0000000123.fid',
    '/dev-5/0/000/000/0000000123.fid',
    'dev5/0/000/000/0000000123.fid',
    '//dev5/0/000/000/0000000123.fid',
    '/dev5/0/000/000/../000/0000000123.fid',
    '/dev5/0/000/000/0000000123.fid/',
    '/dev5/0/000/000/0000000123.fid\n',
    '/dev5/0/000/000/0000000123.fid?x',
    '/dev5/0/000/000/00000000123.fid',
    // Beyond what a double holds exactly.
    '/dev5/3/001/002/30010023383333458.fid',
    '/dev5/5/204/870/52048709162819278.fid',
    '/dev99999999999999999/0/000/000/0000000123.fid',
  ]
  for (const path of rows) t.equal(parseReplicaPath(path), undefined, JSON.stringify(path))
})
