/** A storage node as a process of its own, to be killed and measured. */
import { spawn, type ChildProcess } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { ReadyMessage } from '../../common/daemon.ts'

const program = fileURLToPath(new URL('../../storage-node/main.js', import.meta.url))

export interface TestDaemon {
  readonly child: ChildProcess
  readonly port: number
  readonly sidePort: number
  /** Sends a signal and waits for the end; returns the exit status, null after a fatal signal. */
  readonly kill: (signal: NodeJS.Signals) => Promise<number | null>
}

/** Starts an open node on `root`; it is killed when the test ends. */
export async function startDaemon(
  t: Pick<Test, 'teardown'>,
  root: string,
  env: NodeJS.ProcessEnv = {},
  args: string[] = [],
): Promise<TestDaemon> {
  const settings = ['--root', root, '--listen', '127.0.0.1:0', '--open', ...args]
  const child = spawn(process.execPath, [program, ...settings], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, ...env },
  })
  t.teardown(() => child.kill('SIGKILL'))
  const ended = new Promise<number | null>(resolve => child.on('exit', resolve))
  const [port, sidePort] = await new Promise<[number, number]>((resolve, reject) => {
    child.on('message', message => {
      const { ready, listening } = message as Partial<ReadyMessage>
      if (!ready) return
      const { http = '', side = '' } = listening ?? {}
      resolve([Number(http.split(':')[1]), Number(side.split(':')[1])])
    })
    child.on('exit', () => reject(new Error('the node did not start')))
  })
  return {
    child,
    port,
    sidePort,
    kill: signal => {
      child.kill(signal)
      return ended
    },
  }
}

/** Runs the program to its end. */
export async function runProgram(
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [program, ...args], {
    env: { PATH: process.env.PATH, ...env },
  })
  const ended = new Promise<number | null>(resolve => child.on('exit', resolve))
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)])
  return { status: await ended, stdout, stderr }
}
