import t from 'tap'
import {
  freeShare,
  isDeletable,
  isMonitored,
  isReadable,
  takesFiles,
} from '../../../tracker/policy/device.ts'
import { parseLayout, reserve } from './notation.ts'

const mebibyte = 1024 * 1024

/** What may be done with the one device of a layout. */
function uses(text: string, size = 1): string {
  const [device] = parseLayout(text).devices
  if (!device) throw new Error('no device')
  const found = {
    monitor: isMonitored(device),
    read: isReadable(device),
    write: takesFiles(device, { reserve, size }),
    delete: isDeletable(device),
  }
  return Object.entries(found)
    .flatMap(([name, may]) => (may ? [name] : []))
    .join(' ')
}

const rows: [layout: string, uses: string][] = [
  ['h1[d1=_]', 'monitor read write delete'],
  ['h1[d1=_/readonly,readable]', 'monitor read'],
  ['h1[d1=_/readonly]', 'monitor read'],
  ['h1[d1=_/drain]', 'monitor read delete'],
  ['h1[d1=_/down]', ''],
  ['h1[d1=_/dead]', ''],
  ['h1=readonly[d1=_]', 'monitor read'],
  ['h1=down[d1=_]', ''],
  ['h1=dead[d1=_]', ''],
  ['h1=unreachable[d1=_]', 'monitor delete'],
  ['h1=unknown[d1=_]', 'monitor delete'],
  ['h1[d1=_/readable]', 'monitor read delete'],
  ['h1[d1=_/unreachable]', 'monitor delete'],
  ['h1[d1=_/unknown]', 'monitor delete'],
  ['h1[d1=_/free=101]', 'monitor read write delete'],
  ['h1[d1=_/free=100]', 'monitor read delete'],
  ['h1[d1=_/free=0]', 'monitor read delete'],
  ['h1[d1=_/sizeless]', 'monitor read write delete'],
]
for (const [layout, expected] of rows) {
  t.test(`${layout}: ${expected || 'nothing'}`, async t => t.equal(uses(layout), expected))
}

t.test('a device takes what leaves its reserve alone', async t => {
  t.match(uses('h1[d1=_/free=300]', 200 * mebibyte), 'write')
  t.notMatch(uses('h1[d1=_/free=300]', 200 * mebibyte + 1), 'write')
  t.match(uses('h1[d1=_/sizeless]', 10 ** 15), 'write')
})

t.test('the free share is between 0 and 1, or not known', async t => {
  const share = (text: string): number | undefined => {
    const [device] = parseLayout(text).devices
    return device && freeShare(device)
  }
  t.equal(share('h1[d1=_/free=250]'), 0.25)
  t.equal(share('h1[d1=_/free=0]'), 0)
  t.equal(share('h1[d1=_/sizeless]'), undefined)
})
