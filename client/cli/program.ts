/** The command line as a whole: all commands of `omg`. */
import { CommanderError, type Command } from 'commander'
import { version } from '../../common/version.ts'
import { addClass } from './class.ts'
import {
  addConnectionOptions,
  CommandLineError,
  createCli,
  OmgCommand,
  pathOf,
  usageOf,
} from './command.ts'
import { addCompletion } from './completion.ts'
import { addDaemons } from './daemons.ts'
import { addDevice } from './device.ts'
import { addDomain } from './domain.ts'
import { exitStatusHelp, outcomeOf, UsageError } from './failure.ts'
import { addGet } from './get.ts'
import { addHost } from './host.ts'
import { addLs } from './ls.ts'
import { addMv } from './mv.ts'
import { addNode } from './node.ts'
import { createOutput } from './output.ts'
import { addPut } from './put.ts'
import { addRm } from './rm.ts'
import type { Host } from './session.ts'
import { addSetting } from './setting.ts'
import { addStat } from './stat.ts'
import { addStatus } from './status.ts'
import { addToken } from './token.ts'
import { addConsole } from './console.ts'
import { addDebug } from './debug.ts'
import { addDoctor } from './doctor.ts'
import { addFids } from './fids.ts'
import { addFsck } from './fsck.ts'
import { addLocate } from './locate.ts'
import { addLogin } from './login.ts'
import { addQueue } from './queue.ts'
import { addRebalance } from './rebalance.ts'
import { addReference } from './reference.ts'
import { addSet } from './set.ts'
import { addStats } from './stats.ts'
import { addSync } from './sync.ts'
import { addTop } from './top.ts'
import { addWhy } from './why.ts'
import { addAudit } from './audit.ts'
import { addDrain } from './drain.ts'
import { addScrub } from './scrub.ts'
import { addTrash } from './trash.ts'
import { addUndelete } from './undelete.ts'
import { addUp } from './up.ts'

/**
 * Runs `omg` with these arguments and returns its exit status, after printing what went wrong on
 * standard error. When the command was a daemon, it may still be running.
 */
export async function runCommandLine(args: readonly string[], host: Host): Promise<number> {
  // Each write reports its own error. Without a listener, an error would end the process with a stack.
  host.stdout.on('error', () => {})
  const program = createProgram(host)
  let running: Command = program
  program.hook('preAction', (_, action) => {
    running = action
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return 0
  } catch (err) {
    // commander also throws after it has printed help or the version.
    if (err instanceof CommanderError) return err.exitCode === 0 ? 0 : 2
    const { status, text } = outcomeOf(err)
    const parsing = err instanceof CommandLineError ? err : undefined
    const command = parsing?.command ?? running
    if (text !== undefined) createOutput(pathOf(command), host).note(text)
    if (err instanceof UsageError && !parsing?.badValue) host.stderr.write(`${usageOf(command)}\n`)
    return status
  }
}

function createProgram(host: Host): Command {
  const program = new OmgCommand('omg')
    .description('A replicated file store for web applications. Files are named DOMAIN:KEY.')
    .usage('COMMAND …')
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: text => void host.stdout.write(text),
      writeErr: text => void host.stderr.write(text),
    })
    .configureHelp({ subcommandTerm: command => command.name() })
    .enablePositionalOptions()
    .addHelpText('afterAll', exitStatusHelp)
  addConnectionOptions(program)
  const cli = createCli(host, program)

  program.commandsGroup('Running the system:')
  addUp(program, cli)
  addDaemons(program, cli)
  program.commandsGroup('Files:')
  for (const add of [
    addPut,
    addGet,
    addSync,
    addLs,
    addStat,
    addSet,
    addMv,
    addRm,
    addUndelete,
    addTrash,
  ]) {
    add(program, cli)
  }
  program.commandsGroup('Watching the cluster:')
  for (const add of [addStatus, addTop, addDoctor, addWhy, addStats]) add(program, cli)
  program.commandsGroup('Configuring the cluster:')
  for (const add of [addNode, addHost, addDevice, addDomain, addClass, addSetting, addToken]) {
    add(program, cli)
  }
  program.commandsGroup('Upkeep:')
  for (const add of [
    addDrain,
    addFsck,
    addScrub,
    addRebalance,
    addQueue,
    addLocate,
    addFids,
    addDebug,
    addConsole,
    addAudit,
  ]) {
    add(program, cli)
  }
  program.commandsGroup('About omg itself:')
  for (const add of [addLogin, addCompletion, addReference]) add(program, cli)
  return program
}
