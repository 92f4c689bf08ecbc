/**
 * Runs test files, each in a process of its own, some side by side. tap's own runner would do that too,
 * but it has every process that a test starts load its hooks for coverage: a daemon took three times
 * as long to start, and all tests together nearly twice as long.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { FileReport, Report } from './report.ts'

export interface RunOptions {
  /** Files at once. */
  readonly jobs: number
  /** Milliseconds that a file may take. */
  readonly timeoutMs: number
  /** Milliseconds it has after that to tell what it waited for; then it and what it started is killed. */
  readonly graceMs?: number
  readonly env: NodeJS.ProcessEnv
  readonly report: Report
}

export interface Run {
  /** Resolves when all files have ended. */
  readonly ended: Promise<void>
  /** Passes a signal on to the files that run and what they started; no more are begun. */
  stop(signal: NodeJS.Signals): void
}

/** Starts to run `files`, which are paths of compiled tests. */
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
    // tap ends a file by itself after so many seconds.
    env: { ...env, TAP_TIMEOUT: String(timeoutMs / 1000) },
    stdio: ['ignore', 'pipe', 'inherit'],
    // A group, with all that the file starts.
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
