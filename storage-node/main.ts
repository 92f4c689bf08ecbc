/** The storage node as a process of its own. */
import { setFlagsFromString } from 'node:v8'
import { runProgram, type Program } from '../common/daemon.ts'
import { envPrefix, StorageNodeConfig } from './config.ts'
import { createStorageNode } from './index.ts'

/** How it is run, in a process of its own or in another's. */
export const program: Program<typeof StorageNodeConfig> = {
  name: 'storage-node',
  summary: 'Keeps files on the disks of this host.',
  schema: StorageNodeConfig,
  envPrefix,
  create: createStorageNode,
}

/** Runs it until a signal ends it. */
export function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  // What a request leaves behind is little: a small nursery saves 20 MB and no time.
  setFlagsFromString('--max-semi-space-size=4')
  setFlagsFromString('--semi-space-growth-factor=1')
  return runProgram(program, args, env)
}

if (process.argv[1] === import.meta.filename) await main(process.argv.slice(2), process.env)
