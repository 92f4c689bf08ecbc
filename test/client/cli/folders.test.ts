import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { FileInfo } from '../../../common/protocol/files.ts'
import type { ClusterStatus } from '../../../common/protocol/status.ts'
import { until } from '../../helpers/until.ts'
import { omg } from '../../helpers/up.ts'
import { startOmg, startSystem } from './omg.ts'

const system = await startSystem(t)
const { cwd, env, run, json, keysBelow } = system

/** Writes files below the working folder; contents by path. */
function plant(files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(cwd, path, '..'), { recursive: true })
    writeFileSync(join(cwd, path), content)
  }
}

/** The regular files below a folder, with their contents. */
function harvest(folder: string): Record<string, string> {
  const paths = readdirSync(join(cwd, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
  return Object.fromEntries(
    paths
      .sort()
      .map(path => [path.slice(join(cwd, folder).length + 1), readFileSync(path, 'utf8')]),
  )
}

t.test(
  'a folder is put under its name, with a slash at its end without, and comes back',
  async t => {
    plant({
      'site/index.html': 'hi',
      'site/css/a.css': 'a',
      'site/css/deep/b.css': 'b',
      'site/ä b': 'c',
    })
    const named = await run(['put', '-r', 'site', 'photos:one/'])
    t.same([named.status, named.stderr], [0, ''])
    t.equal(named.stdout.trimEnd().split('\n').length, 4)
    t.same(await keysBelow('one/'), [
      'one/site/css/a.css',
      'one/site/css/deep/b.css',
      'one/site/index.html',
      'one/site/ä b',
    ])
    t.equal((await run(['put', '-r', 'site/', 'photos:two/'])).status, 0)
    t.ok((await keysBelow('two/')).includes('two/css/a.css'))
    const [info] = await json<FileInfo>(['stat', 'photos:two/css/a.css'])
    t.equal(info?.contentType, 'text/css; charset=utf-8')

    t.equal((await run(['get', '-r', 'photos:two/', 'back'])).status, 0)
    t.same(harvest('back'), harvest('site'))
  },
)

t.test('what cannot be read as a file is left out and told, exit 1', async t => {
  plant({ 'odd/file': 'x' })
  symlinkSync('file', join(cwd, 'odd/link'))
  symlinkSync('..', join(cwd, 'odd/up'))
  symlinkSync('nowhere', join(cwd, 'odd/broken'))
  const { status, stderr } = await run(['put', '-r', 'odd', 'photos:'])
  t.equal(status, 1)
  t.match(stderr, /^omg put: odd\/broken is left out: a link to nothing$/m)
  t.match(stderr, /^omg put: odd\/up is left out: a link to a folder$/m)
  t.same(await keysBelow('odd/'), ['odd/file', 'odd/link'])
})

t.test('a name too long for a key stops a put before anything is sent', async t => {
  const deep = Array.from({ length: 6 }, () => 'x'.repeat(200)).join('/')
  plant({ 'long/a': 'a', [`long/${deep}`]: 'b' })
  const { status, stdout, stderr } = await run(['put', '-r', 'long', 'photos:'])
  t.same([status, stdout], [2, ''])
  t.match(stderr, /a key has at most 1024 bytes/)
  t.same(await keysBelow('long/'), [])
})

t.test('--resume sends and fetches only what is not there with the same content', async t => {
  plant({ 'many/a': 'a', 'many/b': 'b', 'many/c': 'c' })
  await run(['put', '-r', 'many', 'photos:'])
  plant({ 'many/b': 'B', 'many/d': 'd' })
  const again = await run(['put', '-r', 'many', 'photos:', '--resume'])
  t.same(again.stdout.match(/many\/./g)?.sort(), ['many/b', 'many/d'])

  plant({ 'here/a': 'a', 'here/b': 'other' })
  const blocked = await run(['get', '-r', 'photos:many/', 'here', '--resume'])
  t.equal(blocked.status, 1)
  t.match(blocked.stderr, /^omg get: here\/b: file exists \(--force replaces it\)\n$/)
  t.same(harvest('here'), { a: 'a', b: 'other', c: 'c', d: 'd' })
  const forced = await run(['get', '-r', 'photos:many/', 'here', '--resume', '--force'])
  t.same([forced.status, forced.stdout], [0, 'here/b  1 B\n'])
})

t.test('a folder that holds nothing is told, exit 3, since it was probably another', async t => {
  t.same(await run(['get', '-r', 'photos:many/', omg]), {
    status: 1,
    stdout: '',
    stderr: `omg get: ${omg}: is not a folder\n`,
  })
  t.same(await run(['get', '-r', 'photos:nothing/', 'empty']), {
    status: 3,
    stdout: '',
    stderr:
      'omg get: unknown_key: no key begins with "nothing/" in photos (omg ls lists the keys)\n',
  })
  t.notOk(existsSync(join(cwd, 'empty')))
})

t.test('keys that would lead out of the folder, or are no paths, are not written', async t => {
  for (const key of ['../escape', 'a/../../escape', 'a//b', '/abs', 'good/x', 'good/x/y']) {
    await run(['put', '-', `photos:evil/${key}`], { input: key })
  }
  mkdirSync(join(cwd, 'jail/inner'), { recursive: true })
  const { status, stdout, stderr } = await run([
    'get',
    '-r',
    'photos:evil/',
    'jail/inner',
    '-j',
    '1',
  ])
  t.equal(status, 1)
  t.equal(stdout, 'jail/inner/good/x  6 B\n')
  t.equal(stderr.match(/is left out: its key is not a valid path/g)?.length, 4)
  t.match(stderr, /good\/x/) // a file stands where a folder would have to
  t.same(readdirSync(join(cwd, 'jail')), ['inner'])
  t.notOk(existsSync(join(cwd, 'escape')))
})

t.test('sync makes one side like the other, deletes only when told, and rehearses', async t => {
  plant({ 'left/a': 'a', 'left/b/c': 'c' })
  t.equal((await run(['sync', 'left', 'photos:sync/'])).status, 0)
  t.same(await run(['sync', 'left', 'photos:sync/']), { status: 0, stdout: '', stderr: '' })
  plant({ 'left/a': 'A', 'left/new': 'n' })
  rmSync(join(cwd, 'left/b'), { recursive: true })
  const dry = await run(['sync', 'left', 'photos:sync/', '--delete', '--dry-run'])
  t.same(dry.stdout.trimEnd().split('\n'), [
    'put photos:sync/a',
    'put photos:sync/new',
    'delete photos:sync/b/c',
  ])
  t.same(await keysBelow('sync/'), ['sync/a', 'sync/b/c'])
  t.equal((await run(['sync', 'left', 'photos:sync/', '--delete'])).status, 2)
  t.equal((await run(['sync', 'left', 'photos:sync/'])).status, 0)
  t.equal((await keysBelow('sync/')).length, 3)
  t.equal((await run(['sync', 'left', 'photos:sync/', '--delete', '--yes'])).status, 0)
  t.same(await keysBelow('sync/'), ['sync/a', 'sync/new'])

  plant({ 'right/a': 'old', 'right/extra': 'x' })
  t.match((await run(['sync', 'photos:sync/', 'right', '--dry-run'])).stdout, 'get right/a\n')
  t.equal((await run(['sync', 'photos:sync/', 'right', '--delete', '--yes'])).status, 0)
  t.same(harvest('right'), { a: 'A', new: 'n' })
  t.equal((await run(['sync', 'photos:sync/', 'elsewhere'])).status, 0)
  t.same(harvest('elsewhere'), { a: 'A', new: 'n' })
})

t.test('sync refuses what are not a folder here and one there', async t => {
  plant({ 'plain.txt': 'x' })
  for (const args of [
    ['left', 'right'],
    ['photos:a/', 'photos:b/'],
    ['left', 'photos:a'],
  ]) {
    const { status, stderr } = await run(['sync', ...args])
    t.equal(status, 2)
    t.match(stderr, /^omg sync: .*\nUsage: omg sync/)
  }
  for (const args of [
    ['plain.txt', 'photos:a/'],
    ['photos:sync/', 'plain.txt'],
    ['missing', 'photos:a/'],
  ]) {
    t.equal((await run(['sync', ...args])).status, 1, args.join(' '))
  }
  t.equal(readFileSync(join(cwd, 'plain.txt'), 'utf8'), 'x')
})

t.test('get --resume goes on where a broken download stopped', async t => {
  const content = randomBytes(3_000_000)
  plant({ 'big.bin': content })
  const [info] = await json<FileInfo>(['put', 'big.bin', 'photos:big.bin'])
  const part = join(cwd, `.omg-fid${info?.fid}.part`)
  writeFileSync(part, content.subarray(0, 2_000_000))
  t.equal((await run(['get', 'photos:big.bin', 'big2.bin', '--resume'])).status, 0)
  t.ok(readFileSync(join(cwd, 'big2.bin')).equals(content))
  t.notOk(existsSync(part))

  writeFileSync(part, randomBytes(2_000_000))
  const wrong = await run(['get', 'photos:big.bin', 'big3.bin', '--resume'])
  t.equal(wrong.status, 1)
  t.match(wrong.stderr, /^omg get: checksum_mismatch/)
  t.notOk(existsSync(part) || existsSync(join(cwd, 'big3.bin')))
})

t.test('an interrupted put of a folder leaves whole files and no open upload', async t => {
  const files = Array.from({ length: 40 }, (_, i) => [`bulk/${i}`, randomBytes(400_000)] as const)
  plant(Object.fromEntries(files))
  const child = startOmg(['put', '-r', 'bulk', 'photos:'], { cwd, env })
  const [first] = (await once(child.stdout, 'data')) as [Buffer]
  t.match(first.toString(), 'photos:bulk/')
  child.kill('SIGINT')
  t.same(await once(child, 'exit'), [130, null])
  await until('no upload is open', async () => {
    const [status] = await json<ClusterStatus>(['status'])
    return status?.openUploads === 0
  })
  const resumed = await run(['put', '-r', 'bulk', 'photos:', '--resume'])
  t.equal(resumed.status, 0)
  t.equal((await keysBelow('bulk/')).length, 40)
})

t.test('a directory where a file was meant is refused on one line', async t => {
  mkdirSync(join(cwd, 'target/big.bin'), { recursive: true })
  const { status, stderr } = await run(['get', 'photos:big.bin', 'target', '--force'])
  t.equal(status, 1)
  t.equal(stderr, 'omg get: target/big.bin: is a directory\n')
})
