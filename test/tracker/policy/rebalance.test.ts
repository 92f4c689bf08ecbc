import t from 'tap'
import {
  allowance,
  destinationsOfFile,
  estimateMoves,
  parseRebalancePolicy,
  selectDestinations,
  selectSources,
  takeFiles,
  type RebalancePolicy,
} from '../../../tracker/policy/rebalance.ts'
import {
  beginSource,
  dropSources,
  endSource,
  formatRebalanceState,
  newRebalance,
  parseRebalanceState,
} from '../../../tracker/policy/rebalance-state.ts'
import { parseLayout, reserve, seeded, totalBytes } from './notation.ts'

function policyOf(text: string): RebalancePolicy {
  const parsed = parseRebalancePolicy(text)
  if (parsed.kind === 'invalid') throw new Error(parsed.why)
  return parsed.policy
}

t.test('what is no policy is refused with the reason', async t => {
  const rows: [text: string, why: string][] = [
    ['', 'The policy is empty'],
    ['  ', 'The policy is empty'],
    ['nonsense', 'Invalid setting nonsense'],
    ['from_devices=1 color=blue', 'Invalid setting color'],
    ['constructor=1', 'Invalid setting constructor'],
    ['From_devices=1', 'Invalid setting From_devices'],
    ['from_devices=dev1', 'Invalid value for from_devices: dev1'],
    ['from_devices=1,', 'Invalid value for from_devices: 1,'],
    ['from_devices=1=2', 'Invalid value for from_devices: 1=2'],
    ['to_hosts=-1', 'Invalid value for to_hosts: -1'],
    ['from_percent_used=101', 'Invalid value for from_percent_used: 101'],
    ['from_space_free=1g', 'Invalid value for from_space_free: 1g'],
    ['fid_age=middle', 'Invalid value for fid_age: middle'],
    ['limit_type=all', 'Invalid value for limit_type: all'],
    ['limit_by=files', 'Invalid value for limit_by: files'],
    ['limit=many', 'Invalid value for limit: many'],
    ['limit_by=count', 'Invalid value for limit, which is by count: none'],
    ['limit_by=count limit=1g', 'Invalid value for limit, which is by count: 1g'],
    ['limit_by=size limit=1.5g', 'Invalid value for limit, which is by size: 1.5g'],
    ['limit_by=size limit=5%', 'Invalid value for limit, which is by size: 5%'],
    ['use_dest_devs=0', 'Invalid value for use_dest_devs: 0'],
    ['leave_in_drain_mode=yes', 'Invalid value for leave_in_drain_mode: yes'],
  ]
  for (const [text, why] of rows) {
    t.strictSame(parseRebalancePolicy(text), { kind: 'invalid', why }, text)
  }
})

t.test('limits are read with their units', async t => {
  const rows: [text: string, limit: RebalancePolicy['limit']][] = [
    ['from_all_devs=1', undefined],
    ['limit=5', undefined],
    ['limit_by=none limit=5g', undefined],
    ['limit_by=count limit=5', { by: 'count', of: 'device', amount: 5 }],
    ['limit_by=count limit=5 limit_type=global', { by: 'count', of: 'global', amount: 5 }],
    ['limit_by=size limit=5', { by: 'size', of: 'device', amount: 5 }],
    ['limit_by=size limit=5b', { by: 'size', of: 'device', amount: 5 }],
    ['limit_by=size limit=5k', { by: 'size', of: 'device', amount: 5 * 1024 }],
    ['limit_by=size limit=5M', { by: 'size', of: 'device', amount: 5 * 1024 ** 2 }],
    ['limit_by=size limit=5g', { by: 'size', of: 'device', amount: 5 * 1024 ** 3 }],
    ['limit_by=size limit=5T', { by: 'size', of: 'device', amount: 5 * 1024 ** 4 }],
    ['limit_by=size limit=5p', { by: 'size', of: 'device', amount: 5 * 1024 ** 5 }],
    ['limit_by=percent limit=10', { by: 'percent', of: 'device', amount: 10 }],
    ['limit_by=percent limit=2.5%', { by: 'percent', of: 'device', amount: 2.5 }],
  ]
  for (const [text, limit] of rows) t.strictSame(policyOf(text).limit, limit, text)
})

t.test('words may stand apart by any white space, and an empty value is the default', async t => {
  t.strictSame(policyOf(' from_devices=3,1 \n to_hosts= '), policyOf('from_devices=3,1'))
  t.match(policyOf('fid_age=new leave_in_drain_mode=1 use_dest_devs=2'), {
    newestFirst: true,
    leaveInDrain: true,
    destinations: 2,
  })
  t.match(policyOf('fid_age=old use_dest_devs=all'), { newestFirst: false, leaveInDrain: false })
})

t.test('a policy selects the devices to leave and those to go to', async t => {
  const four = 'h1[d1=X d2=_] h2[d3=_ d4=_]'
  const full = 'h1[d1=X/free=100 d2=_/free=200] h2[d3=_/free=800 d4=_/sizeless]'
  const rows: [policy: string, layout: string, from: number[], to: number[]][] = [
    ['from_all_devs=1', four, [1, 2, 3, 4], []],
    ['from_devices=1', four, [1], [2, 3, 4]],
    ['from_devices=4,1', four, [1, 4], [2, 3]],
    ['from_hosts=1', four, [1, 2], [3, 4]],
    ['from_hosts=1 from_devices=2,3', four, [2], [1, 3, 4]],
    ['from_devices=9', four, [], [1, 2, 3, 4]],
    ['from_devices=1 to_hosts=1', four, [1], [2]],
    ['from_devices=1 to_devices=4', four, [1], [4]],
    ['from_devices=1 not_to_hosts=2', four, [1], [2]],
    ['from_devices=1 not_to_devices=2,3', four, [1], [4]],
    ['from_devices=1 to_devices=1', four, [1], []],
    // In percent and in MB of 1000, and what has not reported is neither full nor empty.
    ['from_percent_used=80', full, [1], [2, 3, 4]],
    ['from_percent_used=90', full, [], [1, 2, 3, 4]],
    ['from_percent_used=79.5', full, [1, 2], [3, 4]],
    ['from_percent_free=10', full, [2, 3], [1, 4]],
    ['from_space_used=800', full, [1], [2, 3, 4]],
    ['from_space_free=199', full, [2, 3], [1, 4]],
    ['from_devices=1 to_percent_free=50', full, [1], [3]],
    ['from_devices=1 to_percent_used=50', full, [1], [2]],
    ['from_devices=1 to_space_free=100', full, [1], [2, 3]],
    ['from_devices=1 to_space_used=0', full, [1], [2, 3]],
    // Only what may be deleted from is left, and only what takes files is gone to.
    ['from_hosts=1', 'h1[d1=X/drain d2=X/readonly d3=X/down d4=X/dead] h2[d5=_]', [1], [5]],
    ['from_hosts=1', 'h1=readonly[d1=X] h2=down[d2=X] h3[d3=_]', [], [3]],
    [
      'from_devices=1',
      'h1[d1=X] h2[d2=_/drain d3=_/readable d4=_/free=50 d5=_] h3=unreachable[d6=_]',
      [1],
      [5],
    ],
  ]
  for (const [text, layout, from, to] of rows) {
    const policy = policyOf(text)
    const { devices } = parseLayout(layout)
    const sources = selectSources(policy, devices).map(({ devid }) => devid)
    t.strictSame(sources, from, `${text}: ${layout}`)
    const destinations = selectDestinations(policy, devices, { sources, reserve })
    t.strictSame(
      destinations.map(({ devid }) => devid),
      to,
      `${text}: ${layout}`,
    )
  }
})

t.test('a file is offered as many destinations as the policy says, drawn anew', async t => {
  const random = seeded(1)
  const all = [1, 2, 3, 4]
  t.strictSame(destinationsOfFile(policyOf('use_dest_devs=all'), all, random), all)
  t.strictSame(destinationsOfFile(policyOf('use_dest_devs=4'), all, random), all)
  const drawn = Array.from({ length: 200 }, () =>
    destinationsOfFile(policyOf('use_dest_devs=2'), all, random),
  )
  t.ok(drawn.every(devids => devids.length === 2 && new Set(devids).size === 2))
  t.strictSame(new Set(drawn.flat()), new Set(all))
})

t.test('a limit holds for each device, or for all together', async t => {
  const { devices } = parseLayout('h1[d1=X d2=X] h2[d3=X/sizeless]')
  const half = totalBytes / 2
  const rows: [text: string, device: number | undefined, global: number | undefined][] = [
    ['from_devices=1', undefined, undefined],
    ['limit_by=count limit=5', 5, undefined],
    ['limit_by=count limit=5 limit_type=global', undefined, 5],
    ['limit_by=percent limit=10', half / 10, undefined],
    ['limit_by=percent limit=10 limit_type=global', undefined, half / 5],
  ]
  for (const [text, device, global] of rows) {
    const policy = policyOf(text)
    t.equal(allowance(policy, 'device', devices.slice(0, 1)), device, text)
    t.equal(allowance(policy, 'global', devices), global, text)
  }
  t.equal(allowance(policyOf('limit_by=percent limit=10'), 'device', devices.slice(2)), 0)
})

t.test('how much would leave is told within the limits', async t => {
  const { devices } = parseLayout('h1[d1=X] h2[d2=X]')
  const contents = [
    { devid: 1, files: 10, bytes: 1000 },
    { devid: 2, files: 4, bytes: 100 },
  ]
  const rows: [text: string, amounts: [files: number, bytes: number][]][] = [
    [
      'from_devices=1,2',
      [
        [10, 1000],
        [4, 100],
      ],
    ],
    [
      'limit_by=count limit=5',
      [
        [5, 500],
        [4, 100],
      ],
    ],
    [
      'limit_by=size limit=1050 limit_type=global',
      [
        [10, 1000],
        [2, 50],
      ],
    ],
  ]
  for (const [text, amounts] of rows) {
    const found = estimateMoves(policyOf(text), devices, contents)
    t.strictSame(
      found.map(({ files, bytes }) => [files, bytes]),
      amounts,
      text,
    )
  }
  t.strictSame(estimateMoves(policyOf('from_devices=1'), devices.slice(0, 1), []), [
    { devid: 1, files: 0, bytes: 0 },
  ])
})

t.test('files that do not suit are passed over and cost nothing', async t => {
  const policy = policyOf('from_devices=1 limit_by=count limit=2')
  const files = [1, 2, 3, 4, 5, 6].map(fid => ({ fid, size: 1 }))
  const run = newRebalance({ sources: [1], globalLimit: undefined, now: 7 })
  const state = beginSource(run, 1, 2)
  const odd = takeFiles(policy, state, files, ({ fid }) => fid % 2 === 1)
  t.match(odd, { files: [{ fid: 1 }, { fid: 3 }], exhausted: true, state: { fidsQueued: 2 } })
  const none = takeFiles(policy, state, files, () => false)
  t.match(none, { files: [], exhausted: false, state: { lastFid: 6, deviceLimit: 2 } })
})

t.test('no limit is overrun, whatever comes at once', async t => {
  const files = [10, 20, 30, 40].map((size, i) => ({ fid: 101 + i, size }))
  // What a limit takes of the four files, and what is left of it.
  const rows: [text: string, taken: number, left: number | undefined, exhausted: boolean][] = [
    ['from_devices=1', 4, undefined, false],
    ['limit_by=count limit=0', 0, 0, true],
    ['limit_by=count limit=3', 3, 0, true],
    ['limit_by=count limit=4', 4, 0, true],
    ['limit_by=count limit=5', 4, 1, false],
    ['limit_by=size limit=9', 0, 9, true],
    ['limit_by=size limit=10', 1, 0, true],
    ['limit_by=size limit=59', 2, 29, true],
    ['limit_by=size limit=101', 4, 1, false],
  ]
  for (const of of ['device', 'global'] as const) {
    for (const [text, count, left, exhausted] of rows) {
      const policy = policyOf(`${text} limit_type=${of}`)
      const run = newRebalance({
        sources: [1],
        globalLimit: allowance(policy, 'global', []),
        now: 7,
      })
      const before = beginSource(run, 1, allowance(policy, 'device', []))
      const taken = takeFiles(policy, before, files)
      const what = `${text} of ${of}`
      t.strictSame(taken.files, files.slice(0, count), what)
      t.equal(taken.exhausted, exhausted, what)
      t.equal(of === 'device' ? taken.state.deviceLimit : taken.state.globalLimit, left, what)
      t.equal(taken.state.lastFid, count === 0 ? 0 : 100 + count, what)
      t.equal(taken.state.fidsQueued, count, what)
      t.equal(taken.state.bytesQueued, (count * (count + 1) * 10) / 2, what)
    }
  }
})

t.test('the state goes from source to source', async t => {
  const fresh = newRebalance({ sources: [1, 2, 3], globalLimit: 9, now: 7 })
  const first = beginSource(fresh, 2, 5)
  t.match(first, { pending: [1, 3], current: 2, completed: [], deviceLimit: 5, globalLimit: 9 })
  const second = endSource({ ...first, lastFid: 8, statusBefore: 'alive' })
  t.match(second, { pending: [1, 3], current: undefined, completed: [2], lastFid: 0 })
  t.equal(second.statusBefore, undefined)
  t.equal(second.deviceLimit, undefined)
  t.match(
    dropSources(beginSource(second, 1, undefined), devid => devid < 2),
    { pending: [3], current: undefined, completed: [2, 1] },
  )
  t.match(
    dropSources(second, devid => devid === 3),
    { pending: [1], completed: [2, 3] },
  )
})

t.test('the state is a text of words and comes back from it', async t => {
  const fresh = newRebalance({ sources: [1, 2], globalLimit: undefined, now: 1700000000 })
  t.equal(
    formatRebalanceState(fresh),
    'completed_devs= source_devs=1,2 sdev_current=0 sdev_status=none sdev_lastfid=0' +
      ' sdev_limit=none limit=none fids_queued=0 bytes_queued=0 time_started=1700000000' +
      ' time_latest_run=0 time_latest_empty_run=0 empty_runs=0 time_stopped=0 time_finished=0',
  )
  const busy = {
    ...beginSource({ ...fresh, globalLimit: 7 }, 1, 5),
    statusBefore: 'alive' as const,
    completed: [4, 5],
    lastFid: 3_000_000_000,
    bytesQueued: 2 ** 50,
    emptyRuns: 2,
  }
  for (const state of [fresh, busy, endSource(busy)]) {
    t.strictSame(parseRebalanceState(formatRebalanceState(state)), state)
  }
  const text = formatRebalanceState(busy)
  for (const broken of [
    '',
    'nonsense',
    `${text} more=1`,
    text.replace('sdev_lastfid=', 'sdev_lastfid=x'),
    text.replace(' limit=7', ''),
  ]) {
    t.equal(parseRebalanceState(broken), undefined, broken)
  }
})
