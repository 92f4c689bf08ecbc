import t from 'tap'
import { nextHealth, unknownHealth } from '../../../tracker/policy/health.ts'
import type { DeviceObservation } from '../../../tracker/policy/device.ts'

const words: Readonly<Record<string, DeviceObservation>> = {
  w: 'writeable',
  r: 'readable',
  x: 'unreachable',
  '?': 'unknown',
}

/** What is made of looks that are `stepMs` apart, a letter each. */
function told(looks: string, stepMs = 2500): string {
  let health = unknownHealth
  let text = ''
  for (const [i, letter] of looks.split('').entries()) {
    health = nextHealth(health, { seen: words[letter] ?? 'unknown', nowMs: i * stepMs })
    text += Object.keys(words).find(key => words[key] === health.state) ?? ''
  }
  return text
}

const rows: [what: string, looks: string, told: string][] = [
  ['good and bad news of a quiet device count at once', 'wwrrwxxw', 'wwrrwxxw'],
  ['after the second fall it takes two good looks', 'wxwxwww', 'wxwxrww'],
  ['after the third four, in a row', 'wxwxwwxwwwww', 'wxwxrwxrrrww'],
  ['a look that is not good begins the count anew', 'wxwxwrwww', 'wxwxrrrww'],
  [
    'never more than eight',
    `${'xw'.repeat(20)}wwwwwwwwww`,
    `xw${'xw'}${'xr'.repeat(18)}rrrrrrwwww`,
  ],
  ['being out of service is no fall', 'w?w?w?w', 'w?w?w?w'],
]
for (const [what, looks, expected] of rows) {
  t.test(what, async t => t.equal(told(looks), expected))
}

t.test('falls are forgiven after ten minutes', async t => {
  t.equal(told('wxwxwxww', 700_000), 'wxwxwxww')
})
