/** What all commands share: how they are declared, how they read options, how they run. */
import { Command, InvalidArgumentError, Option } from 'commander'
import { UsageError } from './failure.ts'
import { createOutput, type Output } from './output.ts'
import { suggest } from './suggest.ts'
import { withSession, type ConnectionOptions, type Host, type Session } from './session.ts'

/** A command line parser that throws CommandLineError where commander would end the process. */
export class OmgCommand extends Command {
  override createCommand(name?: string): Command {
    return new OmgCommand(name)
  }

  override error(message: string, { code }: { readonly code?: string } = {}): never {
    const text = message.replace(/^error: /, '').replaceAll('\n', ' ')
    throw new CommandLineError(text, {
      command: this,
      badValue: code === 'commander.invalidArgument',
    })
  }
}

/** A UsageError that the parser found. It knows which command it is about. */
export class CommandLineError extends UsageError {
  readonly command: Command
  /** The value of an option or argument is wrong; the message says what it must be, so no usage is needed. */
  readonly badValue: boolean

  constructor(message: string, { command, badValue }: { command: Command; badValue: boolean }) {
    super(message)
    this.command = command
    this.badValue = badValue
  }
}

/** The full name of a command: `omg host add`. */
export function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name()
}

/** One line that says how `command` is called, and where its subcommands are listed. */
export function usageOf(command: Command): string {
  const usage = `Usage: ${command.createHelp().commandUsage(command)}`
  return command.commands.length > 0 ? `${usage} (see ${pathOf(command)} --help)` : usage
}

/** Declares commands and runs them. */
export interface Cli {
  readonly host: Host
  /**
   * Adds a command that talks to trackers, with the options that all such commands have. `json` says,
   * for the help, what it prints with `--json`, such as `one FileInfo per line`; undefined when there
   * is no such output.
   */
  online(parent: Command, name: string, description: string, json: string | undefined): Command
  /** Runs `work`, the action of such a command, in a session with the trackers. */
  run(
    command: Command,
    options: ConnectionOptions,
    work: (session: Session) => Promise<void>,
  ): Promise<void>
  /** The output of a command that needs no tracker, and so has no session. */
  output(command: Command): Output
}

/** Adds the options that all commands which talk to trackers have. */
export function addConnectionOptions(command: Command): Command {
  return command
    .option('--json', 'print JSON, one document per line')
    .option('--trackers <URL,…>', 'URLs of the trackers (OMG_TRACKERS; else http://127.0.0.1:7002)')
    .option('--token-file <FILE>', 'file with the API token (OMG_TOKEN; else data/admin-token)')
    .option('--profile <NAME>', 'use trackers and token saved by omg login (OMG_PROFILE)')
}

/** What commands print with `--json`: commander has no place for it. */
const jsonAnswers = new WeakMap<Command, string>()

/** Records what a command prints with `--json`, for its help and for `omg reference`. */
export function withJson(command: Command, json: string): Command {
  if (!jsonAnswers.has(command)) {
    command.addHelpText('after', () => `\nWith --json: ${jsonAnswers.get(command)}`)
  }
  jsonAnswers.set(command, json)
  return command
}

/** What `withJson` recorded for a command; undefined when nothing was. */
export const jsonAnswerOf = (command: Command): string | undefined => jsonAnswers.get(command)

/** The arguments and the texts of the options that were typed, for suggestions. */
const wordsOf = (command: Command): string[] =>
  [...command.args, ...Object.values<unknown>(command.opts())].filter(
    word => typeof word === 'string',
  )

/** Creates what the commands of `program` are declared and run with. */
export function createCli(host: Host, program: Command): Cli {
  return {
    host,
    online(parent, name, description, json) {
      const command = addConnectionOptions(parent.command(name).description(description))
      return json === undefined ? command : withJson(command, json)
    },
    run: (command, options, work) =>
      withSession(
        {
          host,
          out: createOutput(pathOf(command), host),
          options: { ...program.opts<ConnectionOptions>(), ...options },
        },
        session =>
          work(session).catch(async (err: unknown) => {
            throw await suggest(err, wordsOf(command), session)
          }),
      ),
    output: command => createOutput(pathOf(command), host),
  }
}

/** A parser for options and arguments: a whole number from `min` to `max`. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d{1,15}$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
  }
}

/** Returns `change`; throws UsageError when it is empty, since then no option said what to change. */
export function changed<T extends object>(change: T): T {
  if (Object.keys(change).length > 0) return change
  throw new UsageError('nothing to change: give at least one option')
}

/** An option that takes one of a few words. */
export const choice = (flags: string, description: string, words: readonly string[]): Option =>
  new Option(flags, `${description}: ${words.join(', ')}`).argParser(oneOf(words))

/** A parser for options and arguments: one of a few words. */
export function oneOf<T extends string>(words: readonly T[]): (text: string) => T {
  return text => {
    const found = words.find(word => word === text)
    if (found === undefined)
      throw new InvalidArgumentError(`It must be one of ${words.join(', ')}.`)
    return found
  }
}
