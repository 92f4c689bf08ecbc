/** `omg tracker` and the other daemons. Each reads the arguments after its name itself. */
import type { Command } from 'commander'
import type { Cli } from './command.ts'

interface Daemon {
  main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void>
}

/** Adds the commands. */
export function addDaemons(program: Command, { host }: Cli): void {
  const add = (name: string, description: string, load: () => Promise<Daemon>): void => {
    program
      .command(name, { hidden: name === 'photo-app' }) // only omg up --separate runs that
      .description(description)
      .usage('[settings]')
      .helpOption(false)
      .allowUnknownOption()
      .passThroughOptions()
      .argument('[settings...]')
      .action(async (settings: string[]) => (await load()).main(settings, host.env))
  }
  add('tracker', 'run a tracker', () => import('../../tracker/main.ts'))
  add('storage-node', 'run a storage node', () => import('../../storage-node/main.ts'))
  add('reproxy', 'run a reproxy', () => import('../../reproxy/main.ts'))
  add('photo-app', 'run the photo application', () => import('../../deploy/demo/main.ts'))
}
