/** What all commands have in common: how they are declared, how they complain, how they connect. */
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

/** A UsageError that knows which command it is about. */
export class CommandLineError extends UsageError {
  readonly command: Command
  /** A value is wrong, and the message says how it should be. */
  readonly badValue: boolean

  constructor(message: string, { command, badValue }: { command: Command; badValue: boolean }) {
    super(message)
    this.command = command
    this.badValue = badValue
  }
}

/** `omg host add`, as the user typed it. */
export function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name()
}

/** How `command` is called, on one line. */
export const usageOf = (command: Command): string =>
  `Usage: ${command.createHelp().commandUsage(command)}`

/** Declares commands and runs them. */
export interface Cli {
  readonly host: Host
  /**
   * Adds a command that talks to trackers, with the options that all of those have. `json` says what
   * it prints with `--json`: `one FileInfo a line`; undefined where it cannot.
   */
  online(parent: Command, name: string, description: string, json: string | undefined): Command
  /** Runs the action of such a command. */
  run(
    command: Command,
    options: ConnectionOptions,
    work: (session: Session) => Promise<void>,
  ): Promise<void>
  /** What the command says, for one that needs no tracker. */
  output(command: Command): Output
}

/** Adds the options that say which trackers are asked, and with which token. */
export function addConnectionOptions(command: Command): Command {
  return command
    .option('--json', 'print JSON, one document a line')
    .option('--trackers <URL,…>', 'trackers to ask (OMG_TRACKERS; else http://127.0.0.1:7002)')
    .option('--token-file <FILE>', 'file with the API token (OMG_TOKEN; else data/admin-token)')
    .option('--profile <NAME>', 'trackers and token that omg login has saved (OMG_PROFILE)')
}

const jsonAnswers = new WeakMap<Command, string>()

/** Notes, for help and reference, what a command prints with `--json`. */
export function withJson(command: Command, json: string): Command {
  if (!jsonAnswers.has(command)) {
    command.addHelpText('after', () => `\nWith --json: ${jsonAnswers.get(command)}`)
  }
  jsonAnswers.set(command, json)
  return command
}

/** What a command prints with `--json`, as a phrase; undefined when nothing was noted. */
export const jsonAnswerOf = (command: Command): string | undefined => jsonAnswers.get(command)

/** The words that were typed behind the command, and the values of its options. */
const wordsOf = (command: Command): string[] =>
  [...command.args, ...Object.values<unknown>(command.opts())].filter(
    word => typeof word === 'string',
  )

/** Creates the means for the commands below `program`. */
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

/** A parser for options: a whole number within bounds. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text)
    if (/^\d{1,15}$/.test(text) && value >= min && value <= max) return value
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`)
  }
}

/** An option that takes one of a few words. */
export const choice = (flags: string, description: string, words: readonly string[]): Option =>
  new Option(flags, `${description}: ${words.join(', ')}`).argParser(oneOf(words))

/** A parser for arguments and options: one of a few words. */
export function oneOf<T extends string>(words: readonly T[]): (text: string) => T {
  return text => {
    const found = words.find(word => word === text)
    if (found === undefined)
      throw new InvalidArgumentError(`It must be one of ${words.join(', ')}.`)
    return found
  }
}
