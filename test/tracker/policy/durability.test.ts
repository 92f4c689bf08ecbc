import t from 'tap'
import { copiesFor, reachableTarget } from '../../../tracker/policy/durability.ts'
import { parseLayout } from './notation.ts'

t.test('a durability asks for so many copies', async t => {
  const rows = [
    ['fast', 1, 1],
    ['fast', 3, 1],
    ['safe', 1, 1],
    ['safe', 2, 2],
    ['safe', 3, 2],
    ['everywhere', 1, 1],
    ['everywhere', 3, 3],
  ] as const
  for (const [durability, mindevcount, copies] of rows) {
    t.equal(copiesFor(durability, mindevcount), copies, `${durability} of ${mindevcount}`)
  }
})

/** `2 on 2`, with what stands in the way of more. */
function target(text: string, wanted: number): string {
  const { copies, hosts, reduced } = reachableTarget(parseLayout(text).devices, wanted)
  return `${copies} on ${hosts}${reduced === undefined ? '' : `: ${reduced.split(' in service are ')[1]}`}`
}

const rows: [layout: string, wanted: number, target: string][] = [
  ['h1[d1=_] h2[d2=_]', 1, '1 on 1'],
  ['h1[d1=_] h2[d2=_]', 2, '2 on 2'],
  ['h1[d1=_ d2=_] h2[d3=_]', 3, '3 on 2'],
  ['h1[d1=_] h2[d2=_]', 3, '2 on 2: 2 devices on 2 hosts'],
  ['h1[d1=_ d2=_]', 1, '1 on 1'],
  ['h1[d1=_ d2=_]', 2, '2 on 1: 2 devices on 1 host'],
  ['h1[d1=_]', 2, '1 on 1: 1 device on 1 host'],
  ['', 2, '1 on 1: 0 devices on 0 hosts'],
  // What is configured to serve counts, also while it does not.
  ['h1[d1=_] h2=unreachable[d2=_/unreachable]', 2, '2 on 2'],
  ['h1[d1=_] h2[d2=_/free=0]', 2, '2 on 2'],
  // What is configured not to serve does not.
  ['h1[d1=_] h2=down[d2=_]', 2, '1 on 1: 1 device on 1 host'],
  ['h1[d1=_] h2[d2=_/drain]', 2, '1 on 1: 1 device on 1 host'],
  ['h1[d1=_] h2[d2=_/readonly] h3=readonly[d3=_] h4[d4=_/dead]', 2, '1 on 1: 1 device on 1 host'],
]
for (const [layout, wanted, expected] of rows) {
  t.test(`of ${wanted} copies, ${layout || 'no device'} can give ${expected}`, async t =>
    t.equal(target(layout, wanted), expected),
  )
}
