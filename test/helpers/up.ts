/** `omg up` as a process of its own, as users run it. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { createClient, type Client } from '../../client/index.ts'
import type { ReadyLine } from '../../deploy/up.ts'
import { until } from './until.ts'

/** The file of the command `omg`. */
export const omg = fileURLToPath(new URL('../../client/cli/main.js', import.meta.url))

export interface System {
  readonly ready: ReadyLine
  readonly process: ChildProcess
  /** A client of the domain `photos`, with the admin token. */
  readonly client: Client
  /** Sends SIGINT or another signal; resolves with the exit status once the process has ended. */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

/** Starts it on free ports, with its files in `data`; `t`'s teardown ends it. */
export async function startUp(
  t: Pick<Test, 'teardown'>,
  { data, args = [], uid }: { data: string; args?: readonly string[]; uid?: number },
): Promise<System> {
  const child = spawn(
    process.execPath,
    [omg, 'up', '--json', '--port-base', '0', '--data', data, ...args],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(uid === undefined ? {} : { uid, gid: uid, cwd: '/' }),
    },
  )
  const ended = once(child, 'exit') as Promise<[number | null]>
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const stop = async (signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> => {
    child.kill(signal)
    const [status] = await ended
    return status
  }
  t.teardown(() => stop())
  const line = await Promise.race([
    once(createInterface(child.stdout), 'line').then(([text]) => String(text)),
    ended.then(([status]) => {
      throw new Error(`omg up ended with status ${status}:\n${log}`)
    }),
  ])
  const ready = JSON.parse(line) as ReadyLine
  const client = createClient({ trackers: [ready.http], token: ready.token, domain: 'photos' })
  t.teardown(() => client.close())
  return { ready, process: child, client, stop }
}

/** Resolves when no process has `pid`. */
export async function untilGone(pid: number): Promise<void> {
  await until(`process ${pid} is gone`, () => {
    try {
      process.kill(pid, 0)
      return false
    } catch {
      return true
    }
  })
}

/** The most memory that a process has used so far, in MiB. Linux only. */
export async function peakMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s*(\d+) kB/m.exec(status)?.[1]) / 1024
}
