/** Runs daemons in this process, or each in a process of its own. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type Type from 'typebox'
import { configure, type Listening, type Program, type ReadyMessage } from '../../common/daemon.ts'
import type { Logger } from '../../common/log.ts'

interface RunOptions {
  /** Its name in the ready line and in the log. */
  readonly name: string
  /** Settings, by flag: `--listen`. */
  readonly flags: Readonly<Record<string, string | boolean>>
  /** Secrets, by environment variable. */
  readonly env?: Readonly<Record<string, string>>
  /** The flags that set its addresses, by their names in `Listening`: a restart reuses the addresses. */
  readonly listenFlags: Readonly<Record<string, string>>
  /** Restart it, on the same addresses, when it ends by itself. */
  readonly restart: boolean
}

/** A daemon that is running. */
export interface Running {
  readonly name: string
  readonly listening: Listening
  /** The id of its process; undefined once that has ended. */
  pid(): number | undefined
  /** Starts it again if it has ended by itself. */
  startAgain(): Promise<void>
  /** Stops it; resolves when it has ended. */
  stop(): Promise<void>
}

/** Starts a daemon; resolves when it serves. */
export type Run = <Config extends Type.TObject>(
  program: Program<Config>,
  options: RunOptions,
) => Promise<Running>

const command = fileURLToPath(new URL('../../client/cli/main.js', import.meta.url))

/** Milliseconds a process has to close before it is killed. */
const stopMs = 3_000
const restartMs = 1_000

const toArgs = (flags: RunOptions['flags']): string[] =>
  Object.entries(flags).flatMap(([flag, value]) =>
    value === true ? [flag] : value === false ? [] : [flag, value],
  )

/** Runs a daemon in this process; it logs to standard error. */
export const runInside: Run = async (program, { name, flags, env = {} }) => {
  const { daemon } = configure(program, { args: toArgs(flags), env, fd: 2 })
  try {
    await daemon.start()
  } catch (err) {
    await daemon.close().catch(() => {})
    throw err
  }
  return {
    name,
    listening: daemon.listening(),
    pid: () => process.pid,
    startAgain: async () => {},
    stop: async () => {
      // Requests under way get some time. After that, the whole process ends.
      await Promise.race([daemon.close(), sleep(stopMs, undefined, { ref: false })])
    },
  }
}

/** Runs each daemon in a process of its own, which ends when this process does. */
export function createSeparateRun(log: Logger): Run {
  return async (program, options) => {
    const { name, env = {}, listenFlags, restart } = options
    let flags = options.flags
    let child: ChildProcess | undefined
    let stopping = false

    const start = async (): Promise<Listening> => {
      const started = fork(command, [program.name, ...toArgs(flags)], {
        env: { ...process.env, ...env },
        // Ctrl-C must reach only us: we stop the daemons in order.
        detached: true,
        stdio: ['ignore', 2, 2, 'ipc'],
      })
      child = started
      const listening = await ready(started, name)
      flags = { ...flags, ...at(listenFlags, listening) }
      started.once('exit', (code, signal) => {
        child = undefined
        if (stopping) return
        log.warn({ daemon: name, code, signal }, 'a daemon ended')
        if (restart) void revive()
      })
      return listening
    }
    const revive = async (): Promise<void> => {
      while (!stopping) {
        await sleep(restartMs)
        if (stopping) return
        try {
          await start()
          return
        } catch (err) {
          log.error({ err, daemon: name }, 'a daemon cannot be started again')
        }
      }
    }
    const listening = await start()
    return {
      name,
      listening,
      pid: () => child?.pid,
      startAgain: async () => {
        if (!child && !stopping) await start()
      },
      stop: async () => {
        stopping = true
        if (child) await end(child)
      },
    }
  }
}

const at = (listenFlags: RunOptions['listenFlags'], listening: Listening): Record<string, string> =>
  Object.fromEntries(
    Object.entries(listenFlags).flatMap(([name, flag]) => {
      const address = listening[name]
      return address === undefined ? [] : [[flag, address]]
    }),
  )

function ready(child: ChildProcess, name: string): Promise<Listening> {
  return new Promise((resolve, reject) => {
    child.once('message', message => {
      resolve((message as ReadyMessage).listening)
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      reject(new Error(`${name} did not start: it ended with ${signal ?? `status ${code}`}`))
    })
  })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), stopMs)
  await gone
  clearTimeout(timer)
}
