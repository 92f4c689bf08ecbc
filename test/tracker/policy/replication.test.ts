import t from 'tap'
import {
  betterPlaces,
  judge,
  removable,
  type Situation,
} from '../../../tracker/policy/replication.ts'
import { parsePolicy, type PolicySpec } from '../../../tracker/policy/spec.ts'
import type { CustomPolicy } from '../../../tracker/policy/verdict.ts'
import { parseLayout, reserve, seeded } from './notation.ts'

type Custom = ReadonlyMap<string, CustomPolicy>

function read(
  text: string,
  policy: string,
  custom: Custom = new Map(),
): { spec: PolicySpec; situation: Situation } {
  const { min, ...layout } = parseLayout(text)
  const spec = parsePolicy(policy, custom)
  if (!spec) throw new Error(`no policy: ${policy}`)
  const random = seeded(1)
  return { spec, situation: { ...layout, mindevcount: min, size: 1, reserve, custom, random } }
}

/** What a policy says: `copy(3,4)` names the devices to choose from, `desperate` is better than nothing. */
function verdict(text: string, policy = 'MultipleHosts()', custom: Custom = new Map()): string {
  const { spec, situation } = read(text, policy, custom)
  const result = judge(spec, situation)
  switch (result.kind) {
    case 'satisfied':
    case 'excess':
      return result.kind
    case 'stuck':
      return `stuck: ${result.why}`
    case 'copy': {
      const to = result.to.map(({ devid }) => devid).sort((a, b) => a - b)
      return `copy(${to.join()})${result.ideal ? '' : ' desperate'}`
    }
  }
}

const anywhere = 'stuck: no device takes new files'
const elsewhere = 'stuck: no device on another host takes new files'

// The layouts of MogileFS-Server's t/multiple-hosts-replpol.t and t/multiple-devices-replpol.t.
const layouts: [layout: string, multipleHosts: string, multipleDevices: string][] = [
  ['min=2 h1[d1=X d2=_] h2[d3=X d4=_]', 'satisfied', 'satisfied'],
  ['min=2 h1[d1=X d2=_] h2[d3=_ d4=_]', 'copy(3,4)', 'copy(2,3,4)'],
  ['min=2 h1[d1=X d2=X] h2[d3=_ d4=_]', 'copy(3,4)', 'satisfied'],
  ['min=2 h1[d1=_ d2=_] h2[d3=_ d4=_]', 'copy(1,2,3,4)', 'copy(1,2,3,4)'],
  ['min=2 h1[d1=X d2=_] h2=down[d3=_ d4=_]', 'copy(2) desperate', 'copy(2)'],
  ['min=2 h1[d1=X d2=_] h2=down[d3=_ d4=_] h3[d5=_ d6=_]', 'copy(5,6)', 'copy(2,5,6)'],
  ['min=2 h1[d1=_ d2=X/dead] h2[d3=X d4=_]', 'copy(1)', 'copy(1,4)'],
  ['min=3 h1[d1=_ d2=X] h2[d3=X d4=_]', 'copy(1,4)', 'copy(1,4)'],
  ['min=3 h1[d1=_ d2=X] h2[d3=X d4=_] h3[d5=_]', 'copy(5)', 'copy(1,4,5)'],
  ['min=3 h1[d1=_ d2=X] h2[d3=X d4=_] h3=down[d5=_]', 'copy(1,4) desperate', 'copy(1,4)'],
  ['min=2 h1[d1=X] h2[d2=X] h3[d3=X]', 'excess', 'excess'],
  ['min=2 h1[d1=X d2=X] h2[d3=X d4=_]', 'excess', 'excess'],
  ['min=3 h1[d1=_ d2=X] h2[d3=X d4=X]', 'satisfied', 'satisfied'],
  ['min=2 h1[d1=X/drain d2=_] h2[d3=X d4=_]', 'satisfied', 'satisfied'],
  ['min=2 h1[d1=X/drain d2=X] h2[d3=X d4=_]', 'excess', 'excess'],

  // t/replpolicy.t: of four hosts two are full.
  ['min=2 h1[d1=X] h2[d2=X] h3[d3=_/free=0] h4[d4=_/free=0]', 'satisfied', 'satisfied'],
  ['min=3 h1[d1=X] h2[d2=X] h3[d3=X/free=0] h4[d4=X/free=0]', 'excess', 'excess'],
  ['min=3 h1[d1=X d5=X] h2[d2=X] h3[d3=_] h4[d4=_]', 'copy(3,4)', 'satisfied'],
  ['min=3 h1[d1=X d5=_] h2[d2=X] h3[d3=_/free=0] h4[d4=_/free=0]', 'copy(5) desperate', 'copy(5)'],
  ['min=3 h1[d1=X d5=X] h2[d2=X d6=_] h3[d3=_/free=0] h4[d4=_/free=0]', elsewhere, 'satisfied'],

  // A class of one copy.
  ['min=1 h1[d1=X] h2[d2=_]', 'satisfied', 'satisfied'],
  ['min=1 h1[d1=X d2=X]', 'excess', 'excess'],
  ['min=1 h1[d1=X/dead d2=_]', 'copy(2)', 'copy(2)'],

  // A host alone.
  ['min=2 h1[d1=X d2=_]', 'copy(2)', 'copy(2)'],
  ['min=2 h1[d1=X d2=X d3=_]', 'satisfied', 'satisfied'],
  ['min=2 h1[d1=X]', anywhere, anywhere],
  ['min=3 h1[d1=X] h2[d2=X]', 'satisfied', 'satisfied'],
  ['min=3 h1[d1=X] h2[d2=X] h3[d3=_/dead]', 'satisfied', 'satisfied'],
  ['min=3 h1[d1=X] h2[d2=X] h3[d3=_/down]', anywhere, anywhere],

  // What takes no files is no destination.
  ['min=2 h1[d1=X] h2[d2=_/drain] h3=readonly[d3=_] h4=unreachable[d4=_]', anywhere, anywhere],
  ['min=2 h1[d1=X] h2[d2=_/readonly] h3[d3=_/readable] h4[d4=_/unreachable]', anywhere, anywhere],
  ['min=2 h1[d1=X] h2[d2=_/free=99] h3[d3=_/unknown]', anywhere, anywhere],
  ['min=2 h1[d1=X] h2[d2=_/sizeless]', 'copy(2)', 'copy(2)'],
  ['min=2 avoid=d2 h1[d1=X] h2[d2=_] h3[d3=_]', 'copy(3)', 'copy(3)'],
  ['min=2 avoid=d2 h1[d1=X] h2[d2=_]', anywhere, anywhere],

  // Copies that cannot be read now count; only dead devices have lost theirs.
  ['min=2 h1[d1=X/down] h2=dead[d2=X] h3[d3=_]', 'satisfied', 'satisfied'],
  ['min=2 h1[d1=X/dead] h2[d2=X/dead] h3[d3=_]', 'copy(3)', 'copy(3)'],
]

for (const [layout, multipleHosts, multipleDevices] of layouts) {
  t.test(
    `${layout} is ${multipleHosts} for MultipleHosts, ${multipleDevices} for MultipleDevices`,
    async t => {
      t.equal(verdict(layout), multipleHosts)
      t.equal(verdict(layout, 'MultipleDevices()'), multipleDevices)
    },
  )
}

t.test("a policy's own count wins over the class", async t => {
  t.equal(verdict('min=2 h1[d1=X] h2[d2=X] h3[d3=_]', 'MultipleHosts(3)'), 'copy(3)')
  t.equal(verdict('min=3 h1[d1=X] h2[d2=_]', 'MultipleHosts(1)'), 'satisfied')
  t.equal(verdict('min=1 h1[d1=X d2=_]', 'MultipleDevices(2)'), 'copy(2)')
  t.equal(verdict('min=2 h1[d1=X] h2[d2=X]', 'MultipleHosts(0)'), 'satisfied', '0 is no count')
})

// MogileFS-Network's t/: zones near and far, and a policy that names both.
const perZone: [layout: string, verdict: string][] = [
  ['h1=zone:near[d1=X d2=_] h2=zone:far[d3=X d4=_]', 'satisfied'],
  ['h1=zone:near[d1=X d2=_] h2=zone:far[d3=_ d4=_]', 'copy(3,4)'],
  ['h1=zone:near[d1=_] h2=zone:far[d3=_]', 'copy(1,3)'],
  ['h1=zone:near[d1=X d2=X] h2=zone:far[d3=X]', 'excess'],
  ['h1=zone:near[d1=X d2=X] h2=zone:far[d3=_]', 'copy(3)'],
  ['h1=zone:near[d1=X] h2=zone:far,down[d3=_]', 'stuck: no device in far takes new files'],
  ['h1=zone:near[d1=X] h2=zone:far[d3=_] avoid=d3', 'stuck: no device in far takes new files'],
  ['h1=zone:near[d1=X] h2=zone:far[d3=X/lost d4=_]', 'copy(4)'],
  ['h1=zone:near[d1=X] h2=zone:far[d3=X] h3=zone:other[d5=X]', 'satisfied'],
  ['min=5 h1=zone:near[d1=X] h2=zone:far[d3=X]', 'satisfied'],
]
for (const [layout, expected] of perZone) {
  t.test(`${layout} is ${expected} for one host near and one far`, async t =>
    t.equal(verdict(layout, 'HostsPerNetwork(near=1, far=1)'), expected),
  )
}

t.test('a zone with too few hosts has to do with its devices', async t => {
  const three = (layout: string): string => verdict(layout, 'HostsPerNetwork(z=3)')
  t.equal(three('h1=zone:z[d1=_ d2=X] h2=zone:z[d3=X d4=_]'), 'copy(1,4) desperate')
  t.equal(three('h1=zone:z[d1=_ d2=X] h2=zone:z[d3=X d4=X]'), 'satisfied')
  t.equal(three('h1=zone:z[d1=_ d2=X] h2=zone:z[d3=X] h3=zone:z[d5=_]'), 'copy(5)')
})

const acrossNetworks: [layout: string, verdict: string][] = [
  // Where addresses tell nothing it is like MultipleHosts.
  ['min=2 h1[d1=X d2=_] h2[d3=X d4=_]', 'satisfied'],
  ['min=2 h1[d1=X d2=_] h2[d3=_ d4=_]', 'copy(3,4)'],
  ['min=2 h1[d1=X] h2[d2=X] h3[d3=X d4=_]', 'excess'],
  ['min=2 h1[d1=X] h2[d2=X] h3[d3=X]', 'satisfied'],
  ['min=2 h1[d1=X d2=X] h2[d3=X d4=_]', 'excess'],
  ['min=2 h1[d1=X d2=_] h2=down[d3=_]', 'copy(2) desperate'],

  ['min=2 h1=net:10.1[d1=X d2=_] h2=net:10.1[d3=_] h3=net:10.2[d4=_]', 'copy(4)'],
  ['min=2 h1=net:10.1[d1=X] h2=net:10.1[d3=X] h3=net:10.2[d4=_]', 'copy(4)'],
  ['min=2 h1=net:10.1[d1=X] h2=net:10.1[d3=_] h3=net:10.2[d4=X]', 'satisfied'],
  ['min=2 h1=net:10.1[d1=X] h2=net:10.1[d3=X] h3=net:10.2[d4=X d5=_]', 'excess'],
  ['min=2 h1=net:10.1[d1=X] h2=net:10.1[d3=_]', 'copy(3) desperate'],
  ['min=2 h1=net:10.1[d1=X] h2=net:10.1[d3=X]', 'satisfied'],
  ['min=2 h1=net:10.1[d1=X d2=_] h2=net:10.1[d3=_] h3=net:10.2,down[d4=_]', 'copy(2,3) desperate'],
  ['min=2 h1=net:10.1[d1=X] h2=net:10.1[d3=_] h3=net:10.2[d4=X/dead d5=_]', 'copy(5)'],
  ['min=1 h1=net:10.1[d1=X] h2=net:10.2[d2=_]', 'satisfied'],
  ['min=1 h1=net:10.1[d1=X] h2=net:10.2[d2=X d3=_]', 'satisfied'],
]
for (const [layout, expected] of acrossNetworks) {
  t.test(`${layout} is ${expected} for MultipleNetworks`, async t =>
    t.equal(verdict(layout, 'MultipleNetworks()'), expected),
  )
}

const unions: [layout: string, policy: string, verdict: string][] = [
  ['h1[d1=X] h2[d2=X]', 'Union(MultipleHosts(2), MultipleDevices(2))', 'satisfied'],
  ['h1[d1=X] h2[d2=X] h3[d3=_]', 'Union(MultipleHosts(2), MultipleDevices(3))', 'copy(3)'],
  ['h1[d1=X] h2[d2=X] h3[d3=X]', 'Union(MultipleHosts(2), MultipleDevices(3))', 'satisfied'],
  ['h1[d1=X] h2[d2=X] h3[d3=X]', 'Union(MultipleHosts(2), MultipleDevices(2))', 'excess'],
  ['h1[d1=X d2=_] h2[d3=_]', 'Union(MultipleDevices(2), MultipleHosts(2))', 'copy(3)'],
  [
    'h1=zone:a[d1=_] h2=zone:b[d2=_]',
    'Union(HostsPerNetwork(a=1), HostsPerNetwork(b=1))',
    'copy(1)',
  ],
  ['h1[d1=X]', 'Union(MultipleHosts(1), MultipleDevices(2))', anywhere],
]
for (const [layout, policy, expected] of unions) {
  t.test(`${layout} is ${expected} for ${policy}`, async t =>
    t.equal(verdict(layout, policy), expected),
  )
}

t.test('a copy on a device that is treated as lost does not count', async t => {
  t.equal(verdict('min=2 h1[d1=X/lost] h2[d2=X] h3[d3=_]'), 'copy(3)')
  t.equal(verdict('min=2 h1[d1=X/lost] h2[d2=X] h3[d3=X]'), 'satisfied')
  t.equal(verdict('min=2 h1[d1=X] h2[d2=_/lost] h3[d3=_/skewed]'), anywhere)
})

t.test('another zone comes before another host of the same zone', async t => {
  const { spec, situation } = read(
    'min=2 h1=zone:a[d1=X] h2=zone:a[d2=_/free=900] h3=zone:b[d3=_/free=150]',
    'MultipleHosts()',
  )
  for (let i = 0; i < 50; i++) {
    const result = judge(spec, situation)
    t.strictSame(result.kind === 'copy' && result.to.map(({ devid }) => devid), [3, 2])
  }
})

t.test('what may go leaves enough, and the drained and the fullest go first', async t => {
  const rows: [layout: string, policy: string, devids: number[]][] = [
    ['min=2 h1[d1=X d2=X] h2[d3=X]', 'MultipleHosts()', [1, 2]],
    ['min=2 h1[d1=X/free=500] h2[d2=X/free=200] h3[d3=X/free=900]', 'MultipleHosts()', [2, 1, 3]],
    ['min=2 h1[d1=X] h2[d2=X/drain] h3[d3=X/free=1]', 'MultipleHosts()', [2, 3, 1]],
    ['min=2 h1[d1=X] h2[d2=X]', 'MultipleHosts()', []],
    ['min=1 h1[d1=X] h2[d2=X/dead]', 'MultipleHosts()', []],
    ['min=2 h1[d1=X] h2[d2=X] h3[d3=X/lost]', 'MultipleHosts()', []],
    ['h1=zone:a[d1=X d2=X] h2=zone:b[d3=X]', 'HostsPerNetwork(a=1, b=1)', [1, 2]],
    // Without the first, there would be enough, on too few hosts, and none of them could go any more.
    ['min=3 h1[d1=X] h2[d2=X d3=X] h3[d4=X d5=X]', 'MultipleHosts()', [2, 3, 4, 5]],
    ['min=3 h1[d1=_] h2[d2=X d3=X] h3[d4=X d5=X]', 'MultipleHosts()', []],
  ]
  for (const [layout, policy, devids] of rows) {
    const { spec, situation } = read(layout, policy)
    t.strictSame(
      removable(spec, situation).map(({ devid }) => devid),
      devids,
      layout,
    )
  }
})

t.test(
  'too many copies that are too close together get one more, so that others can go',
  async t => {
    const rows: [layout: string, devids: number[]][] = [
      ['min=3 h1[d1=_] h2[d2=X d3=X] h3[d4=X d5=X d6=_]', [1]],
      ['min=3 h1[d1=_] h2[d2=X d3=X] h3[d4=X d5=X] avoid=d1', []],
      ['min=3 h1[d1=_/drain] h2[d2=X d3=X] h3[d4=X d5=X]', []],
    ]
    for (const [layout, devids] of rows) {
      const { spec, situation } = read(layout, 'MultipleHosts()')
      t.strictSame(
        betterPlaces(spec, situation).map(({ devid }) => devid),
        devids,
        layout,
      )
    }
  },
)

t.test('a policy of a plugin decides, and cannot do what makes no sense', async t => {
  const everywhere: CustomPolicy = ({ candidates }) =>
    candidates.length > 0 ? { kind: 'copy', to: candidates, ideal: true } : { kind: 'satisfied' }
  const stranger = parseLayout('h9[d9=_]').devices
  const custom: Custom = new Map<string, CustomPolicy>([
    ['Everywhere', everywhere],
    ['Said', ({ args }) => ({ kind: 'stuck', why: args })],
    ['Broken', () => JSON.parse('{')],
    ['Nothing', () => ({}) as never],
    ['Elsewhere', () => ({ kind: 'copy', to: stranger, ideal: true })],
    ['Content', () => ({ kind: 'satisfied' })],
  ])
  const says = (layout: string, policy: string): string => verdict(layout, policy, custom)
  t.equal(says('h1[d1=X d2=_] h2[d3=_]', 'Everywhere()'), 'copy(2,3)')
  t.equal(says('h1[d1=X d2=X] h2[d3=X]', 'Everywhere()'), 'satisfied')
  t.equal(says('h1[d1=X]', 'Said( for a reason )'), 'stuck: policy Said: for a reason')
  t.match(says('h1[d1=X]', 'Broken()'), /^stuck: policy Broken: /)
  t.equal(says('h1[d1=X]', 'Nothing()'), 'stuck: policy Nothing: answered no verdict')
  t.match(says('h1[d1=X]', 'Elsewhere()'), /^stuck: policy Elsewhere: none of its devices/)
  t.equal(says('h1[d1=_]', 'Content()'), 'stuck: policy Content: no replica')
  t.equal(says('h1[d1=X] h2[d2=_]', 'Union(Content(), MultipleHosts(2))'), 'copy(2)')
})
