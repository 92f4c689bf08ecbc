import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import type { Committed, FileInfo } from '../../../common/protocol/files.ts'
import type { ClusterStatus } from '../../../common/protocol/status.ts'
import { until } from '../../helpers/until.ts'
import { omg } from '../../helpers/up.ts'
import { copiesOf, runOmg, startOmg, startSystem } from './omg.ts'

const system = await startSystem(t)
const { cwd, env, run, json, store, keysBelow } = system
const write = (name: string, content: string | Uint8Array): void =>
  writeFileSync(join(cwd, name), content)
const read = (name: string): string => readFileSync(join(cwd, name), 'utf8')
const openUploads = async (): Promise<number | undefined> =>
  (await json<ClusterStatus>(['status']))[0]?.openUploads

t.test('what is put comes back, with what was said about it', async t => {
  write('cat.jpg', 'a cat')
  const put = await run([
    'put',
    'cat.jpg',
    'photos:one/1.jpg',
    '--meta',
    'by=me',
    '--meta',
    'n=a=b',
  ])
  t.same(put, { status: 0, stdout: 'photos:one/1.jpg  5 B  2 copies\n', stderr: '' })
  t.equal((await run(['cat', 'photos:one/1.jpg', 'photos:one/1.jpg'])).stdout, 'a cata cat')
  t.equal((await run(['get', 'photos:one/1.jpg', '-'])).stdout, 'a cat')

  const [info] = await json<FileInfo>(['stat', 'photos:one/1.jpg'])
  t.match(info, {
    domain: 'photos',
    key: 'one/1.jpg',
    size: 5,
    contentType: 'image/jpeg',
    metadata: { by: 'me', n: 'a=b' },
  })
  const shown = await run(['stat', 'photos:one/1.jpg'])
  t.match(shown.stdout, /^size +5 B$/m)
  t.match(shown.stdout, /^meta by +me$/m)
})

t.test('standard input is put, of the type and durability one asks for', async t => {
  const input = randomBytes(300_000)
  const args = [
    'put',
    '-',
    'photos:two/in.png',
    '--content-type',
    'x/y',
    '--durability',
    'everywhere',
  ]
  const put = await run([...args, '--json'], { input })
  t.equal(put.status, 0)
  const committed = JSON.parse(put.stdout) as Committed
  t.match(committed, { key: 'two/in.png', size: 300_000, contentType: 'x/y', copies: 2 })
  t.match(committed.createdAt, /^\d{4}-\d\d-\d\dT/)
  t.equal((await run(['get', 'photos:two/in.png', 'copy'])).status, 0)
  t.ok(readFileSync(join(cwd, 'copy')).equals(input))
})

t.test('several files go into a folder under their own names', async t => {
  mkdirSync(join(cwd, 'many'))
  const names = Array.from({ length: 20 }, (_, i) => `many/${i}.txt`)
  for (const name of names) write(name, name)
  const { status, stdout, stderr } = await run(['put', ...names, 'photos:three/'])
  t.same({ status, stderr }, { status: 0, stderr: '' })
  t.equal(stdout.trimEnd().split('\n').length, 20)
  t.equal((await keysBelow('three/')).length, 20)
  t.equal((await run(['cat', 'photos:three/7.txt'])).stdout, 'many/7.txt')
})

t.test('work goes on when nobody reads of it any more', async t => {
  const names = ['many/0.txt', 'many/1.txt', 'many/2.txt', 'many/3.txt', 'many/4.txt', 'many/5.txt']
  const child = startOmg(['put', ...names, 'photos:unread/'], { cwd, env })
  child.stdout.destroy()
  t.same(await once(child, 'exit'), [0, null])
  t.equal((await keysBelow('unread/')).length, 6)
})

t.test(
  'a directory, a missing file or an unknown class is not put, nor what is beside it',
  async t => {
    write('good.txt', 'good')
    for (const bad of ['many', 'missing.txt']) {
      const { status, stdout, stderr } = await run(['put', 'good.txt', bad, 'photos:bad/'])
      t.same({ status, stdout }, { status: 1, stdout: '' })
      t.match(stderr, new RegExp(`^omg put: ${bad}: .*\n$`))
    }
    const { status, stderr } = await run(['put', 'good.txt', 'photos:bad/', '--class', 'nope'])
    t.equal(status, 3)
    t.match(stderr, /^omg put: unreg_class: .*omg class list/)
    t.same(await keysBelow('bad/'), [])
    t.equal(await openUploads(), 0)
  },
)

t.test('a put that is interrupted leaves no key and no open upload', async t => {
  const child = startOmg(['put', '-', 'photos:interrupted'], { cwd, env })
  child.stdin.on('error', () => {})
  child.stdin.write(randomBytes(200_000))
  await until('the upload is open', async () => (await openUploads()) === 1)
  child.kill('SIGINT')
  const [stderr, ended] = await Promise.all([text(child.stderr), once(child, 'exit')])
  t.same(ended, [130, null])
  t.equal(stderr, 'omg put: interrupted\n')
  t.equal((await run(['stat', 'photos:interrupted'])).status, 3)
  t.equal(await openUploads(), 0)
})

t.test('get writes where it is told and replaces a file only with --force', async t => {
  await store('get/name.txt', 'first')
  const got = await run(['get', 'photos:get/name.txt'])
  t.same(got, { status: 0, stdout: 'name.txt  5 B\n', stderr: '' })
  await store('get/name.txt', 'second')
  const again = await run(['get', 'photos:get/name.txt'])
  t.equal(again.status, 1)
  t.match(again.stderr, /^omg get: name\.txt: file exists \(--force/)
  t.equal(read('name.txt'), 'first')
  t.equal((await run(['get', 'photos:get/name.txt', '--force'])).status, 0)
  t.equal(read('name.txt'), 'second')

  mkdirSync(join(cwd, 'folder'))
  t.equal((await run(['get', 'photos:get/name.txt', 'folder'])).status, 0)
  t.equal(read('folder/name.txt'), 'second')
  const missing = await run(['get', 'photos:get/name.txt', 'nowhere/x'])
  t.same([missing.status, missing.stderr], [1, 'omg get: nowhere: no such file or directory\n'])
  const unknown = await run(['get', 'photos:get/other', 'other'])
  t.equal(unknown.status, 3)
  t.match(unknown.stderr, /^omg get: unknown_key: .*omg ls/)
  t.notOk(existsSync(join(cwd, 'other')))
})

t.test(
  'a download that goes wrong leaves no file, and the old one where there was one',
  async t => {
    const content = randomBytes(500_000)
    write('broken.bin', content)
    const [put] = await json<Committed>(['put', 'broken.bin', 'photos:broken.bin'])
    const copies = copiesOf(system, put?.fid ?? 0)
    t.ok(copies.length >= 2)
    for (const path of copies) writeFileSync(path, randomBytes(500_000))

    const before = readdirSync(cwd)
    const { status, stdout, stderr } = await run(['get', 'photos:broken.bin', 'new.bin'])
    t.same({ status, stdout }, { status: 1, stdout: '' })
    t.match(stderr, /^omg get: checksum_mismatch: .*\n$/)
    t.equal((await run(['get', 'photos:broken.bin', '--force'])).status, 1)
    t.ok(readFileSync(join(cwd, 'broken.bin')).equals(content))
    t.same(readdirSync(cwd), before)
  },
)

t.test('a place that cannot be written is named as it was typed', async t => {
  await store('place', 'x')
  write('a-file', 'x')
  const long = 'k'.repeat(300)
  for (const [place, why] of [
    ['a-file/below', 'not a directory'],
    ['nowhere/name', 'no such file or directory'],
    [long, 'name too long'],
    ...(process.platform === 'linux' ? [['/proc/omg', 'no such file or directory']] : []),
  ] as const) {
    const named = place === 'nowhere/name' ? 'nowhere' : place
    t.same(await run(['get', 'photos:place', place ?? '']), {
      status: 1,
      stdout: '',
      stderr: `omg get: ${named}: ${why}\n`,
    })
  }
  t.match(await run(['put', '', 'photos:place']), {
    status: 1,
    stderr: /^omg put: "": no such file/,
  })
})

t.test('a disk that is full is told on one line, and leaves nothing behind', async t => {
  write('big', randomBytes(1_000_000))
  t.equal((await run(['put', 'big', 'photos:full/big'])).status, 0)
  mkdirSync(join(cwd, 'full'))
  // A limit on the size of files, in blocks of 1 KiB, stands for a disk that has so much room. Node
  // ignores the signal that comes with it.
  const cases: [string, RegExp][] = [
    ['ulimit -f 100; omg get photos:full/big full', /^omg get: full\/big: file too large\n$/],
    ['ulimit -f 100; omg get -r photos:full/ full', /^omg get: full\/big: file too large\n$/],
    [
      'omg cat photos:full/big > /dev/full',
      /^omg cat: standard output: no space left on device\n$/,
    ],
    [
      'omg get photos:full/big - > /dev/full',
      /^omg get: standard output: no space left on device\n$/,
    ],
    ['omg ls photos: > /dev/full', /^omg ls: standard output: no space left on device\n$/],
  ]
  for (const [script, message] of cases) {
    if (script.includes('/dev/full') && !existsSync('/dev/full')) continue
    const define = `omg() { "${process.execPath}" "${omg}" "$@"; }`
    const child = spawn('bash', ['-c', `${define}; ${script}`], {
      cwd,
      env: { PATH: process.env['PATH'], ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const ended = once(child, 'exit')
    t.match(await text(child.stderr), message, script)
    t.same(await ended, [1, null], script)
  }
  t.same(readdirSync(join(cwd, 'full')), [])
})

t.test('ls shows one level like folders, or all of it', async t => {
  for (const key of ['a', 'b/c', 'b/d/e', 'f']) await store(`ls/${key}`, 'x')
  t.equal((await run(['ls', 'photos:ls/'])).stdout, 'ls/a\nls/b/\nls/f\n')
  t.equal((await run(['ls', 'photos:ls/b/'])).stdout, 'ls/b/c\nls/b/d/\n')
  t.equal((await run(['ls', '-r', 'photos:ls/'])).stdout, 'ls/a\nls/b/c\nls/b/d/e\nls/f\n')
  t.same(await run(['ls', 'photos:nothing/']), { status: 0, stdout: '', stderr: '' })
  t.match((await run(['ls', '-l', 'photos:ls/'])).stdout, /^ +1 {2}\S+Z +2 {2}default +ls\/a\n/)
  t.match(await json(['ls', 'photos:ls/']), [{ key: 'ls/a', size: 1 }, { prefix: 'ls/b/' }, {}])
  t.equal((await run(['ls', 'nope:'])).status, 3)
})

t.test('a reader that goes away ends the command without a complaint', async t => {
  for (const args of [
    ['ls', '-r', 'photos:'],
    ['cat', 'photos:three/1.txt'],
    ['status'],
    ['--help'],
  ]) {
    const child = startOmg(args, { cwd, env })
    child.stdout.destroy()
    const [stderr, ended] = await Promise.all([text(child.stderr), once(child, 'exit')])
    t.same([stderr, ended], ['', [0, null]], args.join(' '))
  }
})

t.test('names that hold terminal escapes are printed escaped', async t => {
  const key = 'evil/\u001b[31mred\nline'
  const put = await run(['put', '-', `photos:${key}`], { input: 'x' })
  t.equal(put.stdout, 'photos:evil/\\x1b[31mred\\x0aline  1 B  2 copies\n')
  for (const args of [
    ['ls', 'photos:evil/'],
    ['ls', '-l', 'photos:evil/'],
    ['stat', `photos:${key}`],
  ]) {
    const { stdout } = await run(args)
    t.match(stdout, 'evil/\\x1b[31mred\\x0aline')
    t.notOk(stdout.includes('\u001b'))
  }
  const failed = await run(['mv', `photos:${key}`, 'three/1.txt'])
  t.equal(failed.status, 1)
  const unknown = await run(['stat', 'photos:\u001b[31m\u009b'])
  // oxlint-disable-next-line no-control-regex
  t.notMatch(unknown.stderr, /[\u001b\u009b]/)
  t.equal((await run(['rm', `photos:${key}`])).stdout, 'photos:evil/\\x1b[31mred\\x0aline\n')
})

t.test('mv gives a file another key and replaces nothing', async t => {
  for (const key of ['x', 'y']) await store(`mv/${key}`, key)
  t.equal((await run(['mv', 'photos:mv/x', 'photos:mv/z'])).stdout, 'photos:mv/z\n')
  t.equal((await run(['mv', 'photos:mv/z', 'mv/sub/'])).stdout, 'photos:mv/sub/z\n')
  const taken = await run(['mv', 'photos:mv/sub/z', 'mv/y'])
  t.equal(taken.status, 1)
  t.match(taken.stderr, /^omg mv: key_exists: /)
  t.same(await keysBelow('mv/'), ['mv/sub/z', 'mv/y'])
  t.equal((await run(['cat', 'photos:mv/y'])).stdout, 'y')
})

t.test('rm deletes what is there and tells what is not', async t => {
  for (const key of ['a', 'b', 'c/d', 'c/e', 'cf']) {
    await store(`rm/${key}`, 'x')
  }
  const { status, stdout, stderr } = await run(['rm', 'photos:rm/a', 'photos:rm/?', 'photos:rm/b'])
  t.same({ status, stdout }, { status: 3, stdout: 'photos:rm/a\nphotos:rm/b\n' })
  t.match(stderr, /^omg rm: unknown_key: [^\n]*\n$/)
  t.equal((await run(['rm', '-r', 'photos:rm/c/'])).status, 2)
  t.equal((await keysBelow('rm/')).length, 3)
  const names = Array.from({ length: 20 }, (_, i) => `many/${i}.txt`)
  await run(['put', ...names, 'photos:rm/c/'])
  const removed = await run(['rm', '-r', 'photos:rm/c/', '--yes'])
  t.same([removed.status, removed.stderr], [0, ''])
  t.equal(removed.stdout.trimEnd().split('\n').length, 22)
  t.same(await keysBelow('rm/'), ['rm/cf'])
})

t.test('a token of another scope is refused on one line', async t => {
  const [created] = await json<{ token: string }>([
    'token',
    'add',
    'reader',
    '--scope',
    'read',
    '--domain',
    'photos',
  ])
  const reader = { ...env, OMG_TOKEN: created?.token }
  t.equal((await runOmg(['ls', 'photos:'], { env: reader })).status, 0)
  const { status, stderr } = await runOmg(['rm', 'photos:three/1.txt'], { env: reader })
  t.equal(status, 1)
  t.match(stderr, /^omg rm: forbidden: .*\n$/)
})
