import t from 'tap'
import { formatUsage } from '../../storage-node/disk/usage.ts'

void t.test('the report has its keys in order and whole numbers', t => {
  const usage = { available: 3, used: 2, total: 5, device: '/dev/sdh1', disk: '/mnt/dev1' }
  t.equal(
    formatUsage(usage, 1234),
    'available: 3\ndevice: /dev/sdh1\ndisk: /mnt/dev1\ntime: 1234\ntotal: 5\nuse: 40%\nused: 2\n',
  )
  t.end()
})
