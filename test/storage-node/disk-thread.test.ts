import { closeSync, existsSync, fstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Digester } from '../../storage-node/digests/digester.ts'
import { DiskThread } from '../../storage-node/disk/disk-thread.ts'
import type { Created, Stated } from '../../storage-node/disk/disk-worker.ts'
import { directory } from '../helpers/directory.ts'
import { missing } from '../helpers/missing.ts'

const noProc = missing('/proc of Linux', () => existsSync('/proc/self/fd'))

type Run = ConstructorParameters<typeof DiskThread>[0]

/** A gate that lets everything through. */
const open: Run = start => new Promise(resolve => start((_, value) => resolve(value)))

function startThread(t: Test, run: Run = open): DiskThread {
  const thread = new DiskThread(run)
  t.teardown(() => thread.close())
  return thread
}

void t.test('calls are made in their order, each with its own outcome', async t => {
  const dir = await directory(t)
  const thread = startThread(t)
  const names = Array.from({ length: 50 }, (_, i) => join(dir, `file${i}`))
  const made = await Promise.all(
    names.map((name, i) => thread.call<Created>(['create', name, Buffer.from(`bytes ${i}`)])),
  )
  for (const [i, { fd, dev }] of made.entries()) {
    t.equal(fstatSync(fd).dev, dev)
    closeSync(fd)
    t.equal(readFileSync(names[i] ?? '', 'utf8'), `bytes ${i}`)
  }
  const [first = '', second = ''] = names
  const outcomes = await Promise.allSettled([
    thread.call(['create', first, Buffer.alloc(1)]),
    thread.call(['link', first, second]),
    thread.call(['link', first, join(dir, 'none', 'x')]),
    thread.call(['unlink', join(dir, 'nothing')]),
    thread.call(['rename', second, join(dir, 'renamed')]),
    thread.call(['remove', join(dir, 'parts'), join(dir, 'renamed')]),
    thread.call(['remove', join(dir, 'parts'), dir]),
    thread.call(['remove', join(dir, 'parts'), join(dir, 'renamed')]),
  ])
  t.strictSame(
    outcomes.map(one =>
      one.status === 'fulfilled' ? one.value : (one.reason as { code: string }).code,
    ),
    ['EEXIST', 'EEXIST', 'ENOENT', 'ENOENT', undefined, true, false, 'ENOENT'],
  )
  t.equal(readFileSync(first, 'utf8'), 'bytes 0')
  t.notOk(existsSync(join(dir, 'renamed')))
  const { sizes, times } = await thread.call<Stated>([
    'stat',
    dir,
    ['file0', 'none', 'file10', '.'],
  ])
  t.strictSame([...sizes], [7, -1, 8, -1])
  t.ok(Math.abs((times[0] ?? 0) - Date.now()) < 3600_000)
})

void t.test('a file that was made stays open when the thread ends', async t => {
  const dir = await directory(t)
  const thread = startThread(t)
  const { fd } = await thread.call<Created>(['create', join(dir, 'file'), Buffer.from('x')])
  await thread.close()
  t.equal(fstatSync(fd).size, 1, 'whoever opens files now does not get its number')
  closeSync(fd)
  const again = await thread.call<Created>(['create', join(dir, 'other'), Buffer.from('y')])
  closeSync(again.fd)
})

void t.test('threads that end because they were idle fail nobody who comes just then', async t => {
  const dir = await directory(t)
  const file = join(dir, 'file')
  writeFileSync(file, 'x')
  const later = globalThis.setTimeout
  // Ten seconds without work are over at once.
  const soon = (work: () => void, ms?: number) => later(work, ms === 10_000 ? 1 : ms)
  globalThis.setTimeout = soon as typeof setTimeout
  t.teardown(() => {
    globalThis.setTimeout = later
  })
  const thread = startThread(t)
  const digester = new Digester()
  t.teardown(() => digester.close())
  const ask = [() => thread.call(['stat', dir, ['file']]), () => digester.digest(file, ['sha256'])]
  for (const once of ask) {
    for (let ms = 0; ms < 4; ms++) {
      await once()
      await new Promise<void>(resolve => later(resolve, ms))
    }
    await t.resolves(once())
  }
})

void t.test('a group that was given up leaves no file open', { skip: noProc }, async t => {
  const dir = await directory(t)
  let answered = (): void => {}
  const over = new Promise<void>(resolve => {
    answered = resolve
  })
  // The disk answers after everybody has gone.
  let hangs = false
  const impatient: Run = start => {
    if (!hangs) return open(start)
    start(() => answered())
    return Promise.reject(new Error('it hangs'))
  }
  const thread = startThread(t, impatient)
  // A thread has files of its own.
  await thread.call(['stat', dir, []])
  hangs = true
  const before = openFiles()
  await t.rejects(thread.call(['create', join(dir, 'file'), Buffer.from('x')]), /it hangs/)
  await over
  t.equal(openFiles(), before)
})

/** How many files this process has open. */
const openFiles = (): number => readdirSync('/proc/self/fd').length
