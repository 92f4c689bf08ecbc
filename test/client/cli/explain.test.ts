import t from 'tap'
import { explain, type Facts } from '../../../client/cli/explain.ts'
import type { DeviceInfo, HostInfo } from '../../../common/protocol/configuration.ts'
import type { FileInfo } from '../../../common/protocol/files.ts'

const GB = 1e9

const host = (name: string, status: HostInfo['status'] = 'alive'): HostInfo => ({
  id: 1,
  name,
  status,
  ip: '10.0.0.1',
  port: 7500,
  getPort: null,
  altip: null,
  altmask: null,
  zone: null,
  observed: 'reachable',
})

const device = (devid: number, name: string, more: Partial<DeviceInfo> = {}): DeviceInfo => ({
  devid,
  host: name,
  status: 'alive',
  weight: 100,
  observed: 'writeable',
  lost: false,
  totalBytes: 10 * GB,
  usedBytes: GB,
  ...more,
})

const file: FileInfo = {
  domain: 'photos',
  key: 'cat',
  fid: 7,
  class: 'web',
  size: 5,
  metadata: {},
  createdAt: '',
  modifiedAt: '',
  devids: [1, 2],
}

const well: Facts = {
  file,
  traces: { fid: 7, urls: [], moves: [] },
  copies: [
    { devid: 1, state: 'good' },
    { devid: 2, state: 'good' },
  ],
  rule: { mindevcount: 2, replpolicy: 'MultipleHosts()' },
  devices: [device(1, 'h1'), device(2, 'h2'), device(3, 'h3')],
  hosts: [host('h1'), host('h2'), host('h3')],
  reserve: 1e8,
  lastError: undefined,
}

const job = { attempts: 3, nextTryAt: '2030-01-01T00:00:00Z' }
const oneCopy = { copies: [{ devid: 1, state: 'good' as const }] }

t.test('all is well with as many good copies as asked for and nothing waiting', async t => {
  const { well: fine, text, wanted, good } = explain(well)
  t.same({ fine, wanted, good }, { fine: true, wanted: 2, good: 2 })
  t.equal(
    text,
    'photos:cat is fid 7, 5 B, of class web, which asks for 2 copies (MultipleHosts()). It has 2 copies: dev1 on h1 (alive, writeable), dev2 on h2 (alive, writeable). No job waits: all is as it should be.',
  )
})

t.test('what is missing, what waits and what blocks it are said', async t => {
  const cases: [string, Partial<Facts>, RegExp][] = [
    [
      'a job',
      { ...oneCopy, traces: { ...well.traces, replication: job } },
      /1 copy is missing\. A replication is next tried at 2030-01-01T00:00:00Z, after 3 tries\./,
    ],
    [
      'a parked job',
      { ...oneCopy, traces: { ...well.traces, replication: { attempts: 9 } } },
      /was given up after 9 tries and waits for a person: omg queue replicate-now\./,
    ],
    ['no job', oneCopy, /No replication is queued: omg fsck start/],
    [
      'policy in parentheses',
      { rule: { mindevcount: 1, replpolicy: 'MultipleHosts(3)' } },
      /asks for 3 copies .* 1 copy is missing/,
    ],
    ['one host', { devices: [device(1, 'h1'), device(2, 'h1')] }, /All copies are on one host/],
    [
      'a bad copy',
      {
        copies: [
          { devid: 1, state: 'good' },
          { devid: 2, state: 'missing' },
        ],
      },
      /dev2 on h2 \(alive, writeable\) where it is missing\. 1 copy is missing/,
    ],
    [
      'a copy that cannot be read',
      {
        copies: [
          { devid: 1, state: 'good' },
          { devid: 2, state: 'unreadable', error: 'no connection' },
        ],
      },
      /where it is unreadable \(no connection\)\. 1 copy cannot be read now, and counts until/,
    ],
    [
      'a host that is down',
      { hosts: [host('h1'), host('h2', 'down'), host('h3')] },
      /dev2 .* unreadable \(its host is down\)\. 1 copy cannot be read now, and counts until/,
    ],
    [
      'a device that is down',
      { devices: [device(1, 'h1'), device(2, 'h2', { status: 'down' }), device(3, 'h3')] },
      /dev2 on h2 \(down, .* unreadable \(its device is down\)/,
    ],
    [
      'a lost device',
      { devices: [device(1, 'h1'), device(2, 'h2', { lost: true }), device(3, 'h3')] },
      /dev2 on h2 \(alive, treated as lost\)\. 1 copy is missing/,
    ],
    [
      'a dead device',
      { devices: [device(1, 'h1'), device(2, 'h2', { status: 'dead' })] },
      /1 copy is missing.* There is no other device/,
    ],
    [
      'nothing left',
      { copies: [] },
      /It has 0 copies\. No copy can be read\. 2 copies are missing/,
    ],
    ['no class', { rule: undefined }, /of class web, which is no longer there\./],
    [
      'last error',
      { ...oneCopy, lastError: 'source\u001b[31m gone' },
      /Another device can take one\. The last replication that failed: source\\x1b\[31m gone\./,
    ],
  ]
  for (const [name, change, pattern] of cases) {
    const { text, well: fine } = explain({ ...well, ...change })
    t.match(text, pattern, name)
    if (name !== 'no class') t.notOk(fine, name)
  }
})

t.test('each device that takes no copy is named with its reason', async t => {
  const { text, blocked } = explain({
    ...well,
    ...oneCopy,
    devices: [
      device(1, 'h1'),
      device(4, 'h1'),
      device(5, 'h2', { status: 'readonly' }),
      device(6, 'h2', { observed: 'unreachable' }),
      device(7, 'h3', { usedBytes: 10 * GB }),
      device(8, 'h4'),
      device(9, 'h2', { status: 'dead' }),
    ],
    hosts: [...well.hosts, host('h4', 'down')],
  })
  t.same(blocked, [
    { devid: 4, why: 'its host has a copy' },
    { devid: 5, why: 'it is readonly' },
    { devid: 6, why: 'it was seen unreachable' },
    { devid: 7, why: 'it is full' },
    { devid: 8, why: 'its host is down' },
  ])
  t.match(text, /No other device can take one \(dev4: its host has a copy; dev5/)
})
