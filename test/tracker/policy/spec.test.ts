import t from 'tap'
import { parsePolicy, type PolicySpec } from '../../../tracker/policy/spec.ts'

const hosts = (count?: number): PolicySpec => ({ kind: 'MultipleHosts', count })
const devices = (count?: number): PolicySpec => ({ kind: 'MultipleDevices', count })

const rows: [text: string | null, spec: PolicySpec | undefined][] = [
  [null, hosts()],
  ['', hosts()],
  ['MultipleHosts()', hosts()],
  ['MultipleHosts(0)', hosts()],
  ['MultipleHosts(5)', hosts(5)],
  [' MultipleHosts ( 5 )\n', hosts(5)],
  ['MultipleDevices(2)', devices(2)],
  ['MultipleNetworks(3)', { kind: 'MultipleNetworks', count: 3 }],
  ['HostsPerNetwork(near=1)', { kind: 'HostsPerNetwork', hosts: new Map([['near', 1]]) }],
  [
    'HostsPerNetwork( near = 1 ,\n far=2, )',
    {
      kind: 'HostsPerNetwork',
      hosts: new Map([
        ['near', 1],
        ['far', 2],
      ]),
    },
  ],
  ['Union(MultipleHosts(5))', { kind: 'Union', members: [hosts(5)] }],
  [
    'Union(\n  MultipleHosts(5),\n\tUnion( MultipleDevices() , ) ,\n)\n',
    { kind: 'Union', members: [hosts(5), { kind: 'Union', members: [devices()] }] },
  ],
  ['Mine()', { kind: 'custom', name: 'Mine', args: '' }],
  ['Mine( a, b=c )', { kind: 'custom', name: 'Mine', args: 'a, b=c' }],
  [
    'Union(Mine(1), MultipleHosts())',
    { kind: 'Union', members: [{ kind: 'custom', name: 'Mine', args: '1' }, hosts()] },
  ],
  ['MultipleHosts', undefined],
  ['multiplehosts()', undefined],
  ['MultipleHosts(x)', undefined],
  ['MultipleHosts(-1)', undefined],
  ['MultipleHosts(5', undefined],
  ['MultipleHosts(5))', undefined],
  ['MultipleHosts() MultipleDevices()', undefined],
  ['HostsPerNetwork()', undefined],
  ['HostsPerNetwork(near)', undefined],
  ['HostsPerNetwork(near=1,,far=2)', undefined],
  ['Union()', undefined],
  ['Union(,)', undefined],
  ['Union(MultipleHosts() MultipleDevices())', undefined],
  ['Union(MultipleHosts(),, MultipleDevices())', undefined],
  ['Union(MultipleHosts()', undefined],
  ['Union(Evil())', undefined],
  ['Evil(1)', undefined],
  ['toString()', undefined],
  ['Union('.repeat(5000), undefined],
]

t.test('the text of a policy is read as MogileFS reads it', async t => {
  const custom = new Set(['Mine'])
  for (const [text, spec] of rows) {
    t.strictSame(parsePolicy(text, custom), spec, String(text).slice(0, 60))
  }
})
