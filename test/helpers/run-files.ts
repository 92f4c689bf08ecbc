/**
 * Runs test files, each in a process of its own, several at a time. tap's own runner does that too, but
 * makes every process that a test starts load its hooks for coverage: daemons take three times as long
 * to start, and all tests together nearly twice as long.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { FileReport, Report } from './report.ts'

export interface RunOptions {
  /** Files to run at the same time. */
  readonly jobs: number
  /** Milliseconds that a file may take. */
  readonly timeoutMs: number
  /** Milliseconds that a late file gets to report what it waited for. Then it is killed, with all it started. */
  readonly graceMs?: number
  readonly env: NodeJS.ProcessEnv
  readonly report: Report
}

export interface Run {
  /** Resolves when all files have ended. */
  readonly ended: Promise<void>
  /** Sends a signal to the running files and everything that they started. No more files are started. */
  stop(signal: NodeJS.Signals): void
}

/** Runs `files`, paths of compiled tests. */
export function runFiles(files: readonly string[], options: RunOptions): Run {
  const left = [...files]
  const running = new Set<ChildProcess>()
  const work = async (): Promise<void> => {
    for (let file; (file = left.shift()) !== undefined;) {
      await runFile(file, options, running)
    }
  }
  return {
    ended: Promise.all(Array.from({ length: options.jobs }, work)).then(() => undefined),
    stop(signal) {
      left.length = 0
      for (const child of running) killGroup(child, signal)
    },
  }
}

async function runFile(
  file: string,
  { timeoutMs, graceMs = 10_000, env, report }: RunOptions,
  running: Set<ChildProcess>,
): Promise<void> {
  const startedAt = performance.now()
  const told: FileReport = report.file(file)
  const child = spawn(process.execPath, ['--enable-source-maps', file], {
    // After so many seconds, tap itself ends the file and reports what it waited for.
    env: { ...env, TAP_TIMEOUT: String(timeoutMs / 1000) },
    stdio: ['ignore', 'pipe', 'inherit'],
    // A process group, so that everything the file starts can be killed with it.
    detached: true,
  })
  running.add(child)
  const late = setTimeout(() => killGroup(child, 'SIGKILL'), timeoutMs + graceMs)
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => told.write(chunk))
  const [status, signal] = (await once(child, 'close')) as [number | null, string | null]
  clearTimeout(late)
  running.delete(child)
  told.end({ status, signal, ms: performance.now() - startedAt })
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (err) {
    // It has just ended.
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err
  }
}
