/** The reproxy as a process of its own. */
import type { Daemon, Program } from '../common/daemon.ts'
import { runProgram } from '../common/daemon.ts'
import type { Logger } from '../common/log.ts'
import { envPrefix, readConfig, ReproxyFlags } from './config/load.ts'
import { createReproxy } from './index.ts'
import { createSupervisor } from './operation/supervisor.ts'

/** How it is run, in a process of its own or in another's. */
export const program: Program<typeof ReproxyFlags> = {
  name: 'reproxy',
  summary: 'Stands before an application and serves the files it names.',
  schema: ReproxyFlags,
  envPrefix,
  create,
}

function create(flags: ReproxyFlags, log: Logger): Daemon {
  let config = readConfig(flags)
  log.level = config.logLevel // which the file may tell
  // With one process there is nobody to supervise.
  const reproxy = (config.workers > 1 ? createSupervisor : createReproxy)(config, log)
  return {
    start: () => reproxy.start(),
    close: () => reproxy.close(),
    listening: () => reproxy.listening(),
    async reload() {
      const next = readConfig(flags)
      await reproxy.configure(next)
      config = next
      log.level = config.logLevel
    },
    // It ends by itself when the time to drain is over; this is for the case that it does not.
    closeMs: () => config.drainTimeoutMs + 2_000,
  }
}

/** Runs it until a signal ends it. */
export function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return runProgram(program, args, env)
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2), process.env)
