import { mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createLogger } from '../../common/log.ts'
import { CodedError } from '../../common/errors.ts'
import { Device } from '../../storage-node/device.ts'
import { Disk } from '../../storage-node/disk.ts'
import { OpenFiles } from '../../storage-node/open-files.ts'
import { ownLocks } from '../../storage-node/part-locks.ts'
import { directory } from '../helpers/directory.ts'

/** One that has no room for what comes behind the naming of a file. */
class CrowdedDisk extends Disk {
  override unlink(): Promise<void> {
    return Promise.reject(new CodedError('overloaded', 'too many requests wait'))
  }
}

t.test('a temporary name that cannot be removed fails neither the file nor the node', async t => {
  const dir = join(await directory(t), 'dev1')
  mkdirSync(dir)
  const identity = { directory: dir, fileSystem: statSync(dir).dev, isLocal: true } as never
  const device = new Device({
    devid: 1,
    identity,
    disk: new CrowdedDisk(1, dir),
    openFiles: new OpenFiles(),
    fsync: true,
    log: createLogger('test', { level: 'silent', fd: 2 }),
    locks: ownLocks(),
  })
  t.teardown(() => device.close())
  device.checkMounted = async () => {}
  const path = '0/000/000/0000000007.fid'
  const options = { size: 5, replace: false, pieceSize: () => 65_536 }
  await device.write(path, [Buffer.from('hello')], options)
  t.equal(readFileSync(join(dir, path), 'utf8'), 'hello')
})
