import t from 'tap'
import {
  checkGrant,
  checkReceipt,
  hostKeys,
  hostSecret,
  parseReceipt,
  signGrant,
  signReceipt,
  type Grant,
  type Receipt,
} from '../../common/signing.ts'

const clusterSecret = 'a-cluster-secret-of-enough-bytes-0123456789'
const keysOf = (host: string, secret = clusterSecret) => hostKeys(hostSecret(secret, host))
const keys = keysOf('node1')
const now = 1_700_000_000

const grant: Grant = { method: 'PUT', devid: 3, object: '123' }
const receipt: Receipt = { fid: 123, devid: 3, size: 5, sha256: 'ab'.repeat(32) }

/** The code with which a token is refused, or `ok`. */
function check(token: string, wanted = grant, { at = now, by = [keys] } = {}): string {
  try {
    checkGrant(by, token, wanted, at)
    return 'ok'
  } catch (err) {
    return (err as { code: string }).code
  }
}

t.test('a grant allows what it names and nothing else', async t => {
  const token = signGrant(keys, grant, now + 60)
  t.match(token, /^\d+\.[A-Za-z0-9_-]{32}$/, 'nothing in it needs encoding')
  t.equal(check(token), 'ok')
  const others: Partial<Grant>[] = [
    { method: 'GET' },
    { method: 'DELETE' },
    { method: 'COPY' },
    { devid: 4 },
    { object: '124' },
    { object: '0123' },
    { object: 'usage' },
    { devid: 31, object: '23' },
  ]
  for (const other of others) {
    t.equal(check(token, { ...grant, ...other }), 'bad_token', JSON.stringify(other))
  }
  t.equal(check(token, grant, { by: [keysOf('node2')] }), 'bad_token', 'another host')
  t.equal(check(token, grant, { by: [] }), 'bad_token')
})

t.test('a token is what was signed, character by character', async t => {
  const token = signGrant(keys, grant, now + 60)
  const [expires = '', mac = ''] = token.split('.')
  const forged = [
    '',
    '.',
    expires,
    mac,
    `${Number(expires) + 1}.${mac}`,
    ` ${token}`,
    `${token} `,
    `${token}\n`,
    `${token}A`,
    token.slice(0, -1),
    `${token}&${token}`,
    `${expires}.${mac.toUpperCase()}`,
    `${expires}.${'A'.repeat(32)}`,
    `1e10.${mac}`,
    `-1.${mac}`,
  ]
  for (const text of forged) t.equal(check(text), 'bad_token', JSON.stringify(text))
  for (let at = 0; at < token.length; at++) {
    const flipped = token[at] === '1' ? '2' : '1'
    const changed = token.slice(0, at) + flipped + token.slice(at + 1)
    if (check(changed) !== 'bad_token') t.fail(`character ${at} does not count`)
  }
})

t.test('a grant ends, with a minute for clocks that differ', async t => {
  const token = signGrant(keys, grant, now)
  t.equal(check(token, grant, { at: now }), 'ok')
  t.equal(check(token, grant, { at: now + 60 }), 'ok')
  t.equal(check(token, grant, { at: now + 61 }), 'token_expired')
  t.equal(
    check(token, { ...grant, devid: 4 }, { at: now + 61 }),
    'bad_token',
    'strangers learn nothing',
  )
})

t.test('while a secret is replaced both are good', async t => {
  const next = keysOf('node1', 'another-secret-of-enough-bytes-0123456789')
  const both = [next, keys]
  t.equal(check(signGrant(keys, grant, now), grant, { by: both }), 'ok')
  t.equal(check(signGrant(next, grant, now), grant, { by: both }), 'ok')
  t.equal(check(signGrant(keys, grant, now), grant, { by: [next] }), 'bad_token')
  t.ok(checkReceipt(both, signReceipt(keys, receipt)))
  t.notOk(checkReceipt([next], signReceipt(keys, receipt)))
})

t.test('a receipt is read back, and believed only as it was signed', async t => {
  const text = signReceipt(keys, receipt)
  t.strictSame(parseReceipt(text), receipt)
  t.ok(checkReceipt([keys], text))
  t.notOk(checkReceipt([keysOf('node2')], text))
  const mac = text.slice(text.lastIndexOf('.') + 1)
  const changes: Partial<Receipt>[] = [
    { fid: 124 },
    { devid: 4 },
    { size: 6 },
    { sha256: 'ac'.repeat(32) },
  ]
  for (const change of changes) {
    const { fid, devid, size, sha256 } = { ...receipt, ...change }
    const forged = `r1.${fid}.${devid}.${size}.${sha256}.${mac}`
    t.match(parseReceipt(forged), change, 'it can be read')
    t.notOk(checkReceipt([keys], forged), JSON.stringify(change))
  }
  for (const broken of [
    '',
    'r1',
    text.slice(0, -1),
    `${text}A`,
    `${text}\n`,
    text.replace('r1', 'r2'),
    text.toUpperCase(),
    text.replace('.5.', '.-5.'),
  ]) {
    t.equal(parseReceipt(broken), undefined, JSON.stringify(broken))
    t.notOk(checkReceipt([keys], broken))
  }
})

t.test('the keys of hosts and uses have nothing in common', async t => {
  const all = ['node1', 'node2']
    .map(host => keysOf(host))
    .flatMap(({ url, receipt }) => [url, receipt])
  t.equal(new Set(all.map(key => key.toString('hex'))).size, 4)
  // Nodes in the field hold this very text; it must not change.
  t.equal(hostSecret(clusterSecret, 'node1'), hostSecretOfNode1)
})

const hostSecretOfNode1 = 'gbPp73J4QIrdbHYloVjLjDNg_hxhCNPMlRSl7-oaJFk'
