import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { Sha256, toHex } from '../../../client/browser/sha256.ts'

void t.test('digests are right, however the bytes come', t => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), pieces => {
      const hash = new Sha256()
      for (const piece of pieces) hash.update(piece)
      const wanted = createHash('sha256').update(Buffer.concat(pieces)).digest('hex')
      return toHex(hash.digest()) === wanted
    }),
  )
  for (const size of [0, 55, 56, 63, 64, 65, 119, 120, 1_000_003]) {
    const bytes = Buffer.alloc(size, 'omgfiles')
    const wanted = createHash('sha256').update(bytes).digest('hex')
    t.equal(toHex(new Sha256().update(bytes).digest()), wanted, `${size} bytes`)
  }
  t.end()
})
