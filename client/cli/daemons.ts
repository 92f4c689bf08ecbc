/** `omg tracker` and the other daemons: everything behind the name is theirs. */
import type { Command } from 'commander'
import type { Cli } from './command.ts'

interface Daemon {
  main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void>
}

/** Adds the commands. */
export function addDaemons(program: Command, { host }: Cli): void {
  const add = (
    name: string,
    description: string,
    load: () => Promise<Daemon>,
    hidden = false,
  ): void => {
    program
      .command(name, { hidden })
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
  add('photo-app', 'run the photo application', () => import('../../deploy/demo/main.ts'), true)
}
