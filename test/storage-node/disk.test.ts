import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { missing } from '../helpers/missing.ts'
import { until } from '../helpers/until.ts'
import { exchange, filesBelow, startNode, statusAndCode, type TestNode } from './node.ts'

const run = (command: string, ...args: string[]): void => {
  execFileSync(command, args, { stdio: 'ignore' })
}

const mountTmpfs = (): void => {
  const probe = mkdtempSync(join(tmpdir(), 'omg-probe-'))
  try {
    run('mount', '-t', 'tmpfs', '-o', 'size=64k', 'omg', probe)
    run('umount', probe)
  } finally {
    rmSync(probe, { recursive: true, force: true })
  }
}

/** Mounts an ext4 of its own at `disk`; returns where it is told to have met an error. */
function mountImage(image: string, disk: string): string {
  writeFileSync(image, '')
  truncateSync(image, 8 * 1024 * 1024)
  run('mkfs.ext4', '-q', '-F', image)
  run('mount', '-o', 'loop,errors=remount-ro', image, disk)
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const [, source = ''] =
    / - ext4 (\S+)/.exec(mounts.find(line => line.includes(` ${disk} `))!) ?? []
  return `/sys/fs/ext4/${basename(source)}/trigger_fs_error`
}

// Nobody else may mount, on no machine.
const isRoot = process.getuid?.() === 0
const noMount = isRoot ? missing('the right to mount a tmpfs', mountTmpfs) : 'needs root'

/** A node whose device 1 is a file system of its own. */
async function startOnTmpfs(t: Test, options: string): Promise<TestNode & { disk: string }> {
  // Not in t.testdir(), which is removed before it could be unmounted.
  const root = mkdtempSync(join(tmpdir(), 'omg-'))
  const disk = join(root, 'dev1')
  mkdirSync(disk)
  run('mount', '-t', 'tmpfs', '-o', options, 'omg', disk)
  t.teardown(() => {
    run('umount', disk)
    rmSync(root, { recursive: true })
  })
  return { ...(await startNode(t, { root, devices: [2] })), disk }
}

/** KiB that a node has room for on device 1, as it says. */
async function roomOf(node: TestNode): Promise<number> {
  const { body } = await node.send('GET', '/dev1/usage')
  return Number(/available: (\d+)/.exec(body.toString())?.[1])
}

const path = (fid: number): string => replicaPath({ devid: 1, fid })

void t.test(
  'a full disk is told before the body is read, or when it fills up',
  { skip: noMount },
  async t => {
    const node = await startOnTmpfs(t, 'size=1m')
    t.equal((await node.send('PUT', path(1), { body: 'before' })).status, 201)
    const body = Buffer.alloc(3 * 1024 * 1024)
    const head = `PUT ${path(2)} HTTP/1.1\r\nHost: a\r\n`
    const declared = await exchange(node.port, `${head}Content-Length: ${body.length}\r\n\r\n`)
    t.equal(statusAndCode(declared), '507 insufficient_storage', 'no byte of the body was sent')
    const chunk = Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body])
    const undeclared = await exchange(
      node.port,
      Buffer.concat([Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`), chunk]),
    )
    t.equal(statusAndCode(undeclared), '507 insufficient_storage')
    t.same(
      filesBelow(node.disk),
      ['.omg-device', path(1).slice('/dev1/'.length)],
      'nothing is left of either',
    )
    t.equal((await node.send('PUT', path(3), { body: 'after' })).status, 201)
    t.match((await node.send('GET', '/dev1/usage')).body.toString(), `disk: ${node.disk}\n`)
    t.match((await node.send('GET', '/dev1/usage')).body.toString(), 'device: omg\n')
  },
)

void t.test('a disk without inodes is full', { skip: noMount }, async t => {
  const node = await startOnTmpfs(t, 'size=1m,nr_inodes=12')
  let status = 0
  for (let fid = 1; fid < 20; fid++) {
    status = (await node.send('PUT', path(fid), { body: 'x' })).status
    if (status !== 201) break
  }
  t.equal(status, 507)
  t.equal((await node.send('GET', path(1))).status, 200)
  await until('it says so', async () => (await roomOf(node)) === 0)
  await node.send('DELETE', path(1))
  await until('there is room again', async () => (await roomOf(node)) > 0)
  t.equal((await node.send('PUT', path(1), { body: 'x' })).status, 201)
})

void t.test('a disk that turned read-only is still read', { skip: noMount }, async t => {
  const node = await startOnTmpfs(t, 'size=1m')
  await node.send('PUT', path(1), { body: 'x' })
  run('mount', '-o', 'remount,ro', node.disk)
  const refused = { status: 503, code: 'device_readonly', headers: { 'retry-after': /\d/ } }
  t.match(await node.send('PUT', path(2), { body: 'y' }), refused)
  t.match(await node.send('DELETE', path(1)), refused)
  t.equal((await node.send('GET', path(1))).body.toString(), 'x')
  run('mount', '-o', 'remount,rw', node.disk)
  t.equal((await node.send('PUT', path(2), { body: 'y' })).status, 201)
})

void t.test('nothing lands in the place of a disk that went away', { skip: noMount }, async t => {
  const node = await startOnTmpfs(t, 'size=1m')
  await node.send('PUT', path(1), { body: 'x' })
  run('umount', node.disk)
  for (const fid of [1, 2]) {
    const answer = await node.send('PUT', path(fid), { body: 'y' })
    t.match(answer, { status: 503, code: 'device_not_mounted' })
  }
  t.same(filesBelow(node.disk), [])
  const other = replicaPath({ devid: 2, fid: 1 })
  t.equal((await node.send('PUT', other, { body: 'x' })).status, 201, 'the other device works')
  run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'omg', node.disk)
})

void t.test(
  'a disk that is unplugged leaves the others alone, and comes back by itself',
  { skip: noMount },
  async t => {
    const root = mkdtempSync(join(tmpdir(), 'omg-'))
    const [disk, other, place] = ['disk', 'other', 'dev1'].map(name => join(root, name))
    for (const directory of [disk!, other!, place!]) mkdirSync(directory)
    run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'omg', disk!)
    run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'omg', other!)
    run('mount', '--bind', disk!, place!)
    t.teardown(() => {
      for (const at of [disk!, other!]) run('umount', at)
      rmSync(root, { recursive: true })
    })
    const node = await startNode(t, { root, devices: [2] })
    t.teardown(() => run('umount', '-l', place!))
    t.equal((await node.send('PUT', path(1), { body: 'x' })).status, 201)
    for (let i = 0; i < 3; i++) await node.send('GET', path(1))
    const refused = async (why: string): Promise<void> => {
      await until(why, async () => (await node.send('GET', '/dev1/usage')).status === 503)
      const answer = await node.send('PUT', path(2), { body: 'y' })
      t.match(answer, { status: 503, code: 'device_not_mounted' }, why)
    }
    run('umount', '-l', place!)
    await refused('unmounted')
    const elsewhere = replicaPath({ devid: 2, fid: 1 })
    t.equal((await node.send('PUT', elsewhere, { body: 'x' })).status, 201)
    run('mount', '--bind', other!, place!)
    await refused('an empty disk in its place')
    t.same(filesBelow(other!), [])
    run('umount', '-l', place!)
    run('mount', '--bind', disk!, place!)
    await until('back', async () => (await node.send('GET', '/dev1/usage')).status === 200)
    t.equal((await node.send('PUT', path(2), { body: 'y' })).status, 201)
    t.equal((await node.send('GET', path(1))).body.toString(), 'x')
    await node.close()

    run('umount', place!)
    const again = await startNode(t, { root, devices: [2] })
    const unplugged = await again.send('PUT', path(3), { body: 'z' })
    t.match(unplugged, { status: 503, code: 'device_not_mounted' }, 'also after a restart')
    t.same(filesBelow(place!), [])
    run('mount', '--bind', disk!, place!)
    t.equal((await again.send('PUT', path(3), { body: 'z' })).status, 201)
  },
)

void t.test('what cannot be written to says that it has no room', { skip: noMount }, async t => {
  const node = await startOnTmpfs(t, 'size=1m')
  t.ok((await roomOf(node)) > 0)
  run('mount', '-o', 'remount,ro', node.disk)
  await until('no room', async () => (await roomOf(node)) === 0)
  run('mount', '-o', 'remount,rw', node.disk)
  await until('room', async () => (await roomOf(node)) > 0)
})

void t.test(
  'a file system that met an error is read-only, and says that it has no room',
  { skip: noMount },
  async t => {
    const root = mkdtempSync(join(tmpdir(), 'omg-'))
    const disk = join(root, 'dev1')
    mkdirSync(disk)
    t.teardown(() => rmSync(root, { recursive: true }))
    let trigger: string
    try {
      trigger = mountImage(join(root, 'image'), disk)
    } catch {
      t.pass('no loop device with ext4 here')
      return
    }
    t.teardown(() => run('umount', disk))
    const node = await startNode(t, { root, devices: [2] })
    t.equal((await node.send('PUT', path(1), { body: 'x' })).status, 201)
    t.ok((await roomOf(node)) > 0)
    writeFileSync(trigger, 'a test')
    t.match(await node.send('PUT', path(2), { body: 'y' }), { status: 503 })
    t.equal(await roomOf(node), 0, 'at once')
    await new Promise(resolve => setTimeout(resolve, 1_100))
    t.equal(await roomOf(node), 0, 'and when it is looked at anew')
    t.equal((await node.send('GET', path(1))).body.toString(), 'x')
    const other = replicaPath({ devid: 2, fid: 1 })
    t.equal((await node.send('PUT', other, { body: 'x' })).status, 201, 'others go on')
  },
)
