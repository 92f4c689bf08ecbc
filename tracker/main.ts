/** The tracker as a process of its own. */
import { setFlagsFromString } from 'node:v8'
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

/**
 * How much of its heap that is in use the collector lets come on top before it looks for garbage. Left
 * to itself it waits for three times as much, which long answers to many clients fill within a second:
 * 230 MiB of memory instead of 160.
 */
const heapGrowingPercent = 50

/** Runs it until a signal ends it. */
export function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`)
  return runProgram(program, args, env)
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2), process.env)
