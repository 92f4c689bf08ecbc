import t from 'tap'
import { addressOf, parseAddress, parseFile } from '../../../client/cli/address.ts'

t.test('an address is a domain and a key, whatever is in them', async t => {
  for (const [text, domain, key] of [
    ['photos:cats/1.jpg', 'photos', 'cats/1.jpg'],
    ['photos:', 'photos', ''],
    ['a:b:c', 'a', 'b:c'],
    ['a\\:b:c', 'a:b', 'c'],
    ['a\\\\:b', 'a\\', 'b'],
    ['a\\b:c\\:d', 'a\\b', 'c\\:d'],
    ['ä b:100% 😀\n', 'ä b', '100% 😀\n'],
  ] as const) {
    t.same(parseAddress(text), { domain, key }, text)
  }
  for (const text of ['', ':', ':a', 'photos', 'a\\:b', 'a\\']) {
    t.throws(() => parseAddress(text), { name: 'UsageError', message: /is not DOMAIN:KEY/ }, text)
  }
  t.throws(() => parseFile('photos:'), { name: 'UsageError', message: /at least one byte/ })
  t.throws(() => parseFile(`photos:${'ü'.repeat(513)}`), { message: /at most 1024 bytes/ })
})

t.test('the domain of an address that is printed can be typed again', async t => {
  for (const domain of ['photos', 'a:b', 'a\\', '\\:\\\\:', 'ä b']) {
    t.equal(parseAddress(addressOf({ domain, key: 'k' })).domain, domain)
  }
  const keyBytes = Uint8Array.of(0x61, 0xff)
  t.equal(addressOf({ domain: 'd', key: '', keyBytes }), 'd:a\\xff')
  t.equal(addressOf({ domain: 'd', key: '', keyBytes: 'Yf8' }), 'd:a\\xff')
})
