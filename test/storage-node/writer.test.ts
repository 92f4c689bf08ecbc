import { mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLogger } from '../../common/log.ts'
import { CodedError } from '../../common/errors.ts'
import { Device } from '../../storage-node/device/device.ts'
import { Disk } from '../../storage-node/disk/disk.ts'
import { OpenFiles } from '../../storage-node/disk/open-files.ts'
import { ownLocks } from '../../storage-node/writing/part-locks.ts'
import { directory } from '../helpers/directory.ts'
import { until } from '../helpers/until.ts'

const failure = (): Error => Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })

/** One that has no room for what comes behind the naming of a file. */
class CrowdedDisk extends Disk {
  override unlink(): Promise<void> {
    return Promise.reject(new CodedError('overloaded', 'too many requests wait'))
  }
}

/** One whose flushes end as they are told, once somebody tells. */
class SlowDisk extends Disk {
  readonly flushes: ((err?: Error) => void)[] = []

  override datasync(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.flushes.push(err => (err ? reject(err) : resolve()))
    })
  }
}

/** One that cannot flush names while `fails`; it counts the changes of names. */
class ForgetfulDisk extends Disk {
  fails = false
  full = false
  readonly changed: string[] = []

  override sync(fd: number): Promise<void> {
    return this.fails ? Promise.reject(failure()) : super.sync(fd)
  }

  override write(fd: number, buffers: readonly Buffer[], position: number): Promise<void> {
    const noRoom = Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' })
    return this.full ? Promise.reject(noRoom) : super.write(fd, buffers, position)
  }

  override async mkdir(path: string): Promise<void> {
    await super.mkdir(path)
    this.changed.push('mkdir')
  }

  override async rename(from: string, to: string): Promise<void> {
    await super.rename(from, to)
    this.changed.push('rename')
  }
}

async function deviceOn<T extends Disk>(
  t: Test,
  Kind: new (devid: number, directory: string) => T,
): Promise<{ device: Device; disk: T; dir: string; failed: Error[] }> {
  const dir = join(await directory(t), 'dev1')
  mkdirSync(dir)
  const disk = new Kind(1, dir)
  const failed: Error[] = []
  const device = new Device({
    devid: 1,
    identity: { directory: dir, fileSystem: statSync(dir).dev, isLocal: true } as never,
    disk,
    openFiles: new OpenFiles(),
    fsync: true,
    log: createLogger('test', { level: 'silent', fd: 2 }),
    locks: ownLocks(),
    onFailed: err => failed.push(err),
    onUnreadable() {},
  })
  t.teardown(() => device.close())
  device.checkMounted = async () => {}
  return { device, disk, dir, failed }
}

const path = '0/000/000/0000000007.fid'
const write = (device: Device, place = path) =>
  device.write(place, [Buffer.from('hello')], { size: 5, replace: false, pieceSize: () => 65_536 })

t.test('a temporary name that cannot be removed fails neither the file nor the node', async t => {
  const { device, dir } = await deviceOn(t, CrowdedDisk)
  await write(device)
  t.equal(readFileSync(join(dir, path), 'utf8'), 'hello')
})

t.test('what is under way on a device when it fails is refused, also what succeeds', async t => {
  const { device, disk, failed } = await deviceOn(t, SlowDisk)
  const places = [path, '0/000/000/0000000008.fid', '0/000/000/0000000009.fid']
  const writes = Promise.allSettled(places.map(place => write(device, place)))
  await until('all are flushed', () => disk.flushes.length === places.length)
  disk.flushes[1]!(failure())
  await until('it has failed', () => device.state === 'failed')
  disk.flushes[0]!()
  device.mend()
  disk.flushes[2]!(failure())
  for (const result of await writes) {
    t.match(result, { status: 'rejected', reason: { code: 'device_failed' } })
  }
  t.equal(device.state, 'writeable', 'what was begun before says nothing about what comes after')
  t.equal(failed.length, 1)
  const again = write(device)
  await until('it is flushed', () => disk.flushes.length === places.length + 1)
  disk.flushes.at(-1)!()
  t.match(await again, { size: 5 })
})

t.test(
  'names that could not be flushed are given anew by the next who is to have them',
  async t => {
    const { device, disk, dir, failed } = await deviceOn(t, ForgetfulDisk)
    const failsOnce = async (): Promise<void> => {
      disk.fails = true
      await t.rejects(write(device), { code: 'device_failed' })
      await t.rejects(write(device), { code: 'device_failed' })
      disk.fails = false
      device.mend()
      disk.changed.length = 0
    }
    await failsOnce()
    t.same(readdirSync(dir), [], 'no directory whose name may not be on the disk')
    t.match(await write(device), { size: 5 })
    t.same(disk.changed, ['mkdir', 'mkdir', 'mkdir', 'mkdir'])
    await device.remove(path)
    await failsOnce()
    t.equal(readFileSync(join(dir, path), 'utf8'), 'hello', 'named, and not acknowledged')
    t.match(await write(device), { size: 5 })
    t.same(disk.changed, ['rename'])
    t.same(readdirSync(join(dir, '.tmp')), [])
    t.equal(failed.length, 2)
  },
)

t.test('a device that has failed is tried whole, or as far as there is room', async t => {
  const { device, disk, dir } = await deviceOn(t, ForgetfulDisk)
  device.fail(failure())
  await device.testFailed()
  disk.full = true
  await device.testFailed()
  disk.fails = true
  await t.rejects(device.testFailed(), { code: 'device_failed' })
  disk.full = false
  await t.rejects(device.testFailed(), { code: 'device_failed' })
  t.equal(device.state, 'failed', 'whoever asked for it decides')
  t.same(readdirSync(join(dir, '.tmp')), [])
})
