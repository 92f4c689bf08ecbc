import t from 'tap'
import { judge, parsePolicy } from '../../../tracker/policy/replication.ts'
import { parseLayout, reserve, seeded } from './notation.ts'

/** What a policy says: `copy(3,4)` names the devices to choose from, `desperate` is better than nothing. */
function verdict(text: string, policy = 'MultipleHosts()'): string {
  const { min, ...layout } = parseLayout(text)
  const spec = parsePolicy(policy)
  if (!spec) throw new Error(`no policy: ${policy}`)
  const result = judge(spec, { ...layout, mindevcount: min, size: 1, reserve, random: seeded(1) })
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

t.test('the text of a policy is read as MogileFS reads it', async t => {
  const hosts = { kind: 'MultipleHosts', count: undefined }
  const rows: [text: string | null, spec: object | undefined][] = [
    [null, hosts],
    ['', hosts],
    ['MultipleHosts()', hosts],
    ['MultipleHosts(5)', { kind: 'MultipleHosts', count: 5 }],
    [' MultipleHosts ( 5 )\n', { kind: 'MultipleHosts', count: 5 }],
    ['MultipleDevices(2)', { kind: 'MultipleDevices', count: 2 }],
    ['MultipleHosts', undefined],
    ['multiplehosts()', undefined],
    ['MultipleHosts(x)', undefined],
    ['MultipleHosts(-1)', undefined],
    ['Evil(1)', undefined],
    ['MultipleHosts() MultipleDevices()', undefined],
  ]
  for (const [text, spec] of rows) t.strictSame(parsePolicy(text), spec, String(text))
})
