/** The tracker as a process of its own. */
import { runProgram, type Program } from '../common/daemon.ts'
import { envPrefix, TrackerConfig } from './config.ts'
import { createTracker } from './index.ts'

/** How it is run, in a process of its own or in another's. */
export const program: Program<typeof TrackerConfig> = {
  name: 'tracker',
  summary: 'Knows which file is where, and keeps it so.',
  schema: TrackerConfig,
  envPrefix,
  create: createTracker,
}

/** Runs it until a signal ends it. */
export function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return runProgram(program, args, env)
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2), process.env)
