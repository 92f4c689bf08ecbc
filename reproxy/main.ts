/** The reproxy as a process of its own. */
import { runProgram, type Program } from '../common/daemon.ts'
import { envPrefix, ReproxyConfig } from './config.ts'
import { createReproxy } from './index.ts'

/** How it is run, in a process of its own or in another's. */
export const program: Program<typeof ReproxyConfig> = {
  name: 'reproxy',
  summary: 'Stands before an application and serves the files it names.',
  schema: ReproxyConfig,
  envPrefix,
  create: createReproxy,
  // It ends by itself when the time to drain is over; this is for the case that it does not.
  closeMs: ({ drainTimeoutMs }) => drainTimeoutMs + 2_000,
}

/** Runs it until a signal ends it. */
export function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return runProgram(program, args, env)
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2), process.env)
