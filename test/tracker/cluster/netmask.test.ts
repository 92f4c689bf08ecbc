import t from 'tap'
import { parseNetmask } from '../../../tracker/cluster/netmask.ts'

t.test('a network is an address with bits or a mask, or an address alone', t => {
  const rows: [mask: string, inside: string, outside: string][] = [
    ['10.1.0.0/16', '10.1.255.255', '10.2.0.0'],
    ['10.1.2.3/16', '10.1.0.0', '10.0.255.255'],
    ['10.1.0.0/255.255.0.0', '10.1.9.9', '10.2.0.0'],
    ['10.1.0.0:255.255.0.0', '10.1.9.9', '10.2.0.0'],
    ['192.168.7.1', '192.168.7.1', '192.168.7.2'],
    ['192.168.7.1/255.255.255.255', '192.168.7.1', '192.168.7.2'],
    ['0.0.0.0/0.0.0.0', '8.8.8.8', '::1'],
    ['0.0.0.0/0', '8.8.8.8', 'nonsense'],
    ['fd00::/8', 'fd12::1', 'fe80::1'],
    ['fd00::1', 'fd00::1', 'fd00::2'],
  ]
  for (const [mask, inside, outside] of rows) {
    t.equal(parseNetmask(mask)?.(inside), true, `${inside} is in ${mask}`)
    t.equal(parseNetmask(mask)?.(outside), false, `${outside} is not in ${mask}`)
  }
  t.end()
})

t.test('anything else is no network', t => {
  const rows = ['', '/', '10.0.0.0/', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/8/8', '10.0.0', 'any']
  rows.push('10.0.0.0/255.0.255.0', '10.0.0.0:8:8', 'fd00::/129', 'fd00::/255.0.0.0', 'x/8')
  for (const text of rows) t.equal(parseNetmask(text), undefined, JSON.stringify(text))
  t.end()
})
