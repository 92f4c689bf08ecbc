/** The command `omg` as people run it, and a whole system for it to talk to. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { runCommandLine } from '../../../client/cli/program.ts'
import type { Host } from '../../../client/cli/session.ts'
import { testDatabase } from '../../helpers/postgres.ts'

/** The program's file. */
export const program = fileURLToPath(new URL('../../../client/cli/main.js', import.meta.url))

export interface Result {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  readonly input?: string | Uint8Array
}

/** Starts `omg` with none of our environment but PATH. */
export function startOmg(
  args: readonly string[],
  { cwd = tmpdir(), env = {} }: RunOptions = {},
): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [program, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], ...env },
  })
}

/** Runs `omg` to its end. */
export async function runOmg(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const child = startOmg(args, options)
  const ended = once(child, 'exit')
  child.stdin.on('error', () => {}) // it need not read what it is given
  child.stdin.end(options.input ?? '')
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [status] = (await ended) as [number | null]
  return { status, stdout, stderr }
}

/**
 * The same in this process, which costs a third of the time: for what only asks and prints, in the
 * current folder.
 */
export async function runInside(
  args: readonly string[],
  { env = {}, input = '' }: Pick<RunOptions, 'env' | 'input'> = {},
): Promise<Result> {
  const stdin = Readable.from(input === '' ? [] : [Buffer.from(input)])
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const printed = Promise.all([text(stdout), text(stderr)])
  const host = { env, stdin, stdout, stderr } as unknown as Host
  const status = await runCommandLine(args, host)
  stdout.end()
  stderr.end()
  const [out, err] = await printed
  return { status, stdout: out, stderr: err }
}

/** An HTTP server for as long as `t` runs; returns its URL. */
export async function startServer(
  t: Pick<Test, 'teardown'>,
  listener: RequestListener,
): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export interface System {
  /** An empty folder in which the commands run. */
  readonly cwd: string
  /** Folder with all the system's files. */
  readonly data: string
  readonly http: string
  /** HOST:PORT of the line protocol. */
  readonly wire: string
  readonly storage: readonly string[]
  readonly reproxy: string
  readonly token: string
  readonly databaseUrl: string
  readonly pids: Readonly<Record<string, number>>
  /** Environment that says where the tracker is, and with which token. */
  readonly env: NodeJS.ProcessEnv
  readonly run: (args: readonly string[], options?: Pick<RunOptions, 'input'>) => Promise<Result>
  /** What a command prints with `--json`, one value a line. The command must succeed. */
  readonly json: <T>(args: readonly string[]) => Promise<T[]>
}

/** Starts `omg up`, each daemon a process; it is gone when the test ends. */
export async function startSystem(t: Pick<Test, 'teardown'>): Promise<System> {
  const { url } = await testDatabase(t)
  const folder = await mkdtemp(join(tmpdir(), 'omg-cli-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const data = join(folder, 'data')
  const args = ['up', '--json', '--separate', '--port-base', '0', '--data', data]
  const up = startOmg([...args, '--database-url', url], { cwd: folder })
  up.stderr.pipe(process.stderr)
  const ended = once(up, 'exit')
  t.teardown(async () => {
    up.kill('SIGTERM')
    await ended
  })
  const line = await Promise.race([
    once(createInterface({ input: up.stdout }), 'line').then(([first]) => String(first)),
    ended.then(([status]) => {
      throw new Error(`omg up ended with status ${status}`)
    }),
  ])
  const ready = JSON.parse(line) as Pick<
    System,
    'http' | 'wire' | 'storage' | 'reproxy' | 'token' | 'pids'
  >
  const cwd = await mkdtemp(join(folder, 'work-'))
  const env = { OMG_TRACKERS: ready.http, OMG_WIRE: ready.wire, OMG_TOKEN: ready.token }
  const before = process.cwd()
  process.chdir(cwd)
  t.teardown(() => process.chdir(before))
  const run: System['run'] = (words, options) => runInside(words, { env, ...options })
  return {
    ...ready,
    databaseUrl: url,
    cwd,
    data,
    env,
    run,
    async json<T>(words: readonly string[]) {
      const { status, stdout, stderr } = await run([...words, '--json'])
      if (status !== 0) throw new Error(`omg ${words.join(' ')} ended with ${status}: ${stderr}`)
      return stdout
        .split('\n')
        .filter(one => one !== '')
        .map(one => JSON.parse(one) as T)
    },
  }
}

/** Paths of the copies of a content, on disk. */
export const copiesOf = ({ data }: Pick<System, 'data'>, fid: number): string[] =>
  readdirSync(data, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith(`${String(fid).padStart(10, '0')}.fid`))
    .map(path => join(data, path))

/** Waits until `check` says so. */
export async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await check()) return
    await sleep(100)
  }
  throw new Error(`${what}: it never happened`)
}
