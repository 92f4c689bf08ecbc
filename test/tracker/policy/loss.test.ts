import t from 'tap'
import { judgeLosses, type LossLimits } from '../../../tracker/policy/loss.ts'
import { parseLayout } from './notation.ts'

/** `3 4 lost`, `1 back`, `2 waits: …`. Unreachable devices have been away for `seconds`, or as `away` says. */
function judged(
  text: string,
  {
    seconds = 1000,
    away = {},
    ...limits
  }: Partial<LossLimits> & {
    seconds?: number
    away?: Record<number, number>
  } = {},
): string {
  const { devices } = parseLayout(text)
  const watched = devices.map(device => ({
    device,
    awaySeconds:
      device.observed === 'unreachable' || device.host.observed === 'unreachable'
        ? (away[device.devid] ?? seconds)
        : undefined,
  }))
  const result = judgeLosses(watched, {
    lostAfter: 900,
    maxShare: 25,
    maintenance: false,
    ...limits,
  })
  const parts = [
    result.lose.length > 0 && `${result.lose.join(' ')} lost`,
    result.recover.length > 0 && `${result.recover.join(' ')} back`,
    result.waiting.length > 0 && `${result.waiting.join(' ')} waits: ${result.why}`,
  ]
  return parts.filter(Boolean).join(', ')
}

const four = 'h1[d1=X] h2[d2=X] h3[d3=X]'
const tooMany = (away: number, of: number): string =>
  `${away} of ${of} devices are away, more than 25 % of them (max_lost_share)`

const rows: [what: string, layout: string, options: Parameters<typeof judged>[1], told: string][] =
  [
    ['all is well', `${four} h4[d4=X]`, {}, ''],
    ['a device that is away for long is lost', `${four} h4[d4=X/unreachable]`, {}, '4 lost'],
    ['so is a host', `${four} h4=unreachable[d4=X]`, {}, '4 lost'],
    ['not before its time', `${four} h4[d4=X/unreachable]`, { seconds: 899 }, ''],
    [
      'the share is rounded up',
      'h1[d1=X d2=X] h2[d3=X d4=X] h3=unreachable[d5=X d6=X]',
      {},
      '5 6 lost',
    ],
    [
      'more than the share at once wait',
      'h1[d1=X] h2[d2=X] h3=unreachable[d3=X] h4=unreachable[d4=X]',
      {},
      `3 4 waits: ${tooMany(2, 4)}`,
    ],
    [
      'one that went just now counts as well',
      'h1[d1=X] h2[d2=X] h3=unreachable[d3=X] h4=unreachable[d4=X]',
      { away: { 4: 1 } },
      `3 waits: ${tooMany(2, 4)}`,
    ],
    [
      'so does one that is lost already',
      'h1[d1=X] h2[d2=X] h3=unreachable[d3=X/lost] h4=unreachable[d4=X]',
      {},
      `4 waits: ${tooMany(2, 4)}`,
    ],
    [
      'a larger share may be allowed',
      'h1[d1=X] h2[d2=X] h3=unreachable[d3=X] h4=unreachable[d4=X]',
      { maxShare: 50 },
      '3 4 lost',
    ],
    [
      'none may be lost with a share of 0',
      `${four} h4[d4=X/unreachable]`,
      { maxShare: 0 },
      '4 waits: 1 of 4 devices are away, more than 0 % of them (max_lost_share)',
    ],
    [
      'the second host of two is not given up',
      'h1[d1=X d2=X] h2=unreachable[d3=X]',
      { maxShare: 100 },
      '3 waits: only one host of 2 would be left',
    ],
    [
      'nor are all',
      'h1=unreachable[d1=X] h2=unreachable[d2=X] h3=unreachable[d3=X]',
      { maxShare: 100 },
      '1 2 3 waits: no host of 3 would be left',
    ],
    ['a disk of a host alone may be', 'h1[d1=X d2=X d3=X d4=X/unreachable]', {}, '4 lost'],
    [
      'nothing is in maintenance',
      `${four} h4[d4=X/unreachable]`,
      { maintenance: true },
      '4 waits: maintenance is on',
    ],
    ['what can be read is back', `${four} h4[d4=X/lost]`, {}, '4 back'],
    ['also in maintenance', `${four} h4[d4=X/lost]`, { maintenance: true }, '4 back'],
    ['what is marked down is away on purpose', `${four} h4=down,unreachable[d4=X]`, {}, ''],
    [
      "one that was lost before it was marked is its operator's",
      `${four} h4[d4=X/lost,down,unreachable]`,
      {},
      '4 back',
    ],
    ['a dead device is no part of it', `${four} h4[d4=X/dead,unreachable]`, {}, ''],
  ]
for (const [what, layout, options, expected] of rows) {
  t.test(what, async t => t.equal(judged(layout, options), expected))
}
