/** `omg reference`: docs/cli.md, made from the commands themselves. */
import type { Argument, Command, Option } from 'commander'
import { jsonAnswerOf, pathOf, type Cli } from './command.ts'
import { exitStatuses } from './failure.ts'

/** Adds the command, which only those who write documentation look for. */
export function addReference(program: Command, cli: Cli): void {
  const command = program
    .command('reference', { hidden: true })
    .description('print the reference of all commands as Markdown')
  command.action(async () => {
    const { schemas } = await import('./json-shapes.ts')
    await cli.output(command).write(reference(program, schemas()))
  })
}

function reference(program: Command, shapes: ReadonlyMap<string, string>): string {
  const commands = leavesOf(program)
  const named = commands.map(command => jsonAnswerOf(command) ?? '').join(' ')
  const used = [...shapes].filter(([name]) => new RegExp(`\\b${name}\\b`).test(named))
  const parts = [
    '# The command line\n',
    '<!-- Written by `omg reference`: change the commands, then write this file anew. -->\n',
    `${program.description()}\n`,
    'A folder ends with `/`; `-` is standard input or output. Results go to standard output, everything else to\nstandard error, and what is no terminal gets no colours, bars or control characters. Names that hold any are\nprinted escaped. In the name of a domain `\\:` is a colon: `a\\:b:key`.\n',
    '## Common options\n',
    'Every command that talks to trackers has these. Options win over `--profile`, that over the environment, that\nover the profile of the last `omg login`; without any of them it is the system that `omg up` runs here.\n',
    optionTable(program.options.filter(({ long }) => long !== '--version')),
    'Colours follow `NO_COLOR`. `OMG_CONFIG` names another file for profiles than `~/.config/omgfiles/config.json`.\n',
    '## Exit status\n',
    table(
      ['status', 'meaning'],
      exitStatuses.map(([status, text]) => [status, text]),
    ),
    '## Commands\n',
    ...commands.map(command => section(command, program)),
    '## JSON\n',
    'With `--json` a command prints one document a line. These are the names used above; `?` marks what may be absent.\n',
    ...used.map(([name, text]) => `### ${name}\n\n\`\`\`text\n${text}\n\`\`\`\n`),
  ]
  return `${parts.join('\n').trimEnd()}\n`
}

/** The commands that do something, as they are shown in the help. */
function leavesOf(command: Command): Command[] {
  const children = command
    .createHelp()
    .visibleCommands(command)
    .filter(child => child.name() !== 'help')
  return children.flatMap(child => {
    const below = leavesOf(child)
    return below.length > 0 ? below : [child]
  })
}

function section(command: Command, program: Command): string {
  const common = new Set(program.options.map(({ long, description }) => `${long} ${description}`))
  const options = command.options.filter(
    ({ long, description, hidden }) => !hidden && !common.has(`${long} ${description}`),
  )
  const aliases = command.aliases()
  const answer = jsonAnswerOf(command)
  const described = command.registeredArguments.filter(({ description }) => description)
  return [
    `### ${pathOf(command)}\n`,
    `\`\`\`\n${command.createHelp().commandUsage(command)}\n\`\`\`\n`,
    `${sentence(command.description())}${aliases.length > 0 ? ` Also \`${aliases.join('`, `')}\`.` : ''}\n`,
    ...(described.length > 0 ? [argumentTable(described)] : []),
    ...(options.length > 0 ? [optionTable(options)] : []),
    ...(answer === undefined ? [] : [`With \`--json\`: ${escape(answer)}.\n`]),
  ].join('\n')
}

const sentence = (text: string): string =>
  `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`

function optionTable(options: readonly Option[]): string {
  return table(
    ['option', ''],
    options.map(({ flags, description, defaultValue }) => [
      `\`${flags}\``,
      defaultValue === undefined ? description : `${description} (default ${String(defaultValue)})`,
    ]),
  )
}

const argumentTable = (args: readonly Argument[]): string =>
  table(
    ['argument', ''],
    args.map(argument => [`\`${argument.name()}\``, argument.description]),
  )

/** A table of Markdown with columns of equal width. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map(row => row.map(escape))
  const widths = head.map((_, i) => Math.max(3, ...all.map(row => (row[i] ?? '').length)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`
  const [first = [], ...rest] = all
  const rule = `| ${widths.map(width => '-'.repeat(width)).join(' | ')} |`
  return `${[line(first), rule, ...rest.map(line)].join('\n')}\n`
}

/** Outside of code spans, what Markdown would take for more than text. */
const escape = (text: string): string =>
  text
    .split('`')
    .map((part, i) => (i % 2 === 0 ? part.replaceAll(/[<>*]/g, '\\$&') : part))
    .join('`')
    .replaceAll('|', '\\|')
