/** The command `omg` as people run it, and a whole system for it to talk to. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { runCommandLine } from '../../../client/cli/program.ts'
import type { Host } from '../../../client/cli/session.ts'
import type { FileInfo } from '../../../common/protocol/files.ts'
import { directory } from '../../helpers/directory.ts'
import { testDatabase } from '../../helpers/postgres.ts'
import { omg, startUp } from '../../helpers/up.ts'

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
  return spawn(process.execPath, [omg, ...args], {
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
 * Runs `omg` in this process, in the current folder. It takes a third of the time, but must not be used
 * for what changes the process itself, such as signals.
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
  /** Puts a text under a key of the domain `photos`. */
  readonly store: (key: string, text: string, ...options: string[]) => Promise<void>
  /** The keys of the domain `photos` that begin with `prefix`. */
  readonly keysBelow: (prefix: string) => Promise<string[]>
}

/** Starts `omg up` with a process for each daemon; `t`'s teardown ends it. */
export async function startSystem(t: Pick<Test, 'teardown'>): Promise<System> {
  const { url: databaseUrl } = await testDatabase(t)
  const data = await directory(t)
  const { ready } = await startUp(t, { data, args: ['--separate', '--database-url', databaseUrl] })
  const cwd = await directory(t)
  const env = { OMG_TRACKERS: ready.http, OMG_WIRE: ready.wire, OMG_TOKEN: ready.token }
  const before = process.cwd()
  process.chdir(cwd)
  t.teardown(() => process.chdir(before))
  const run: System['run'] = (words, options) => runInside(words, { env, ...options })
  async function json<T>(words: readonly string[]): Promise<T[]> {
    const { status, stdout, stderr } = await run([...words, '--json'])
    if (status !== 0) throw new Error(`omg ${words.join(' ')} ended with ${status}: ${stderr}`)
    const lines = stdout.split('\n').filter(line => line !== '')
    return lines.map(line => JSON.parse(line) as T)
  }
  return {
    ...ready,
    databaseUrl,
    cwd,
    data,
    env,
    run,
    json,
    async store(key, input, ...options) {
      const { status, stderr } = await run(['put', '-', `photos:${key}`, ...options], { input })
      if (status !== 0) throw new Error(stderr)
    },
    keysBelow: async prefix =>
      (await json<FileInfo>(['ls', '-r', `photos:${prefix}`])).map(({ key }) => key),
  }
}

/** Paths of the copies of a content, on disk. */
export const copiesOf = ({ data }: Pick<System, 'data'>, fid: number): string[] =>
  readdirSync(data, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith(`${String(fid).padStart(10, '0')}.fid`))
    .map(path => join(data, path))
