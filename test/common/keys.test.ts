import fc from 'fast-check'
import t from 'tap'
import {
  checkKey,
  decodeKey,
  encodeKey,
  keyFromJson,
  keyToJson,
  maxKeyBytes,
} from '../../common/keys.ts'

const bytes = fc.uint8Array({ minLength: 1, maxLength: 64 })

t.test('every byte string survives percent-encoding', async t => {
  fc.assert(
    fc.property(bytes, key => {
      const text = encodeKey(key)
      return (
        decodeKey(text).equals(key) && /^(?:[A-Za-z0-9\-_.~!$'()*,;:@]|%[0-9A-F]{2})*$/.test(text)
      )
    }),
  )
  t.equal(encodeKey('a b/é+?#&='), 'a%20b%2F%C3%A9%2B%3F%23%26%3D')
  t.equal(encodeKey('~.-_'), '~.-_')
})

t.test('what stands in a raw URL is read byte by byte', async t => {
  t.equal(decodeKey('a/b+c').toString(), 'a/b+c')
  t.same(decodeKey('%ff%FF%00'), Buffer.from([0xff, 0xff, 0]))
  t.equal(decodeKey('').length, 0)
  for (const broken of ['%', '%z', '%zz', '%0', 'a%', '%%41', '%u0041']) {
    t.throws(() => decodeKey(broken), { code: 'bad_request' }, broken)
  }
})

t.test('every byte string survives JSON', async t => {
  fc.assert(
    fc.property(bytes, key => {
      const json = JSON.parse(JSON.stringify(keyToJson(key))) as ReturnType<typeof keyToJson>
      return keyFromJson(json).equals(key)
    }),
  )
  t.strictSame(keyToJson(Buffer.from('é')), { key: 'é' })
  t.strictSame(keyToJson(Buffer.from([0x61, 0xff])), { key: 'a\ufffd', keyBytes: 'Yf8' })
  t.strictSame(
    keyToJson(Buffer.from('efbbbf61', 'hex')),
    { key: '\ufeffa' },
    'a byte order mark is kept',
  )
  t.equal(keyFromJson({ key: 'a', keyBytes: 'Yg' }).toString(), 'b', 'the bytes win')
})

t.test('a key has 1 to 1,024 bytes', async t => {
  checkKey(Buffer.alloc(1))
  checkKey(Buffer.alloc(maxKeyBytes))
  t.throws(() => checkKey(Buffer.alloc(0)), { code: 'no_key' })
  t.throws(() => checkKey(Buffer.alloc(maxKeyBytes + 1)), { code: 'key_too_long' })
  t.throws(() => keyFromJson({}), { code: 'no_key' })
  t.throws(() => keyFromJson({ key: 'é'.repeat(513) }), { code: 'key_too_long' })
})
