import t from 'tap'
import { ConfigError } from '../../../common/config.ts'
import { parseAllowList, plainAddress } from '../../../tracker/wire/allow-list.ts'

t.test('an address may connect when an entry covers it', async t => {
  const cases: [list: string, address: string, wanted: boolean][] = [
    ['', '203.0.113.9', true],
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['10.1.0.0/16', '10.1.255.255', true],
    ['10.1.0.0/16', '10.2.0.0', false],
    ['10.1.2.3/16', '10.1.9.9', true],
    ['192.168.0.1 10.0.0.0/8', '10.9.9.9', true],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['2001:db8::/32', '2001:db8:1::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    ['127.0.0.0/8', '', false],
  ]
  for (const [list, address, wanted] of cases) {
    const allowed = parseAllowList(list.split(' ').filter(entry => entry !== ''))
    t.equal(allowed(address), wanted, `[${list}] ${address}`)
  }
})

t.test('an entry that is no address or network is an error that names it', async t => {
  for (const entry of [
    '',
    'localhost',
    '10.0.0.0/33',
    '::/129',
    '10.0.0/8',
    '10.0.0.0/',
    '1.2.3.4/x',
  ]) {
    t.throws(() => parseAllowList(['127.0.0.1', entry]), ConfigError, JSON.stringify(entry))
  }
})

t.test('an IPv4 client is known by its IPv4 address on any socket', async t => {
  t.equal(plainAddress('::ffff:10.0.0.1'), '10.0.0.1')
  t.equal(plainAddress('10.0.0.1'), '10.0.0.1')
  t.equal(plainAddress('::ffff:a00:1'), '::ffff:a00:1')
  t.equal(plainAddress('::1'), '::1')
})
