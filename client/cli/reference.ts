/** `omg reference`: docs/cli.md, made from the commands themselves. */
import type { Argument, Command, Option } from 'commander'
import { jsonAnswerOf, pathOf, type Cli } from './command.ts'
import { exitStatuses } from './failure.ts'

/** Adds the command. It is hidden: only whoever writes the documentation needs it. */
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
    '<!-- Written by `omg reference`. To change it, change the commands and run that again. -->\n',
    `${program.description()}\n`,
    'A key that ends with `/` is a folder; `-` is standard input or output. Results go to standard output, everything\nelse to standard error. Colours, bars and control characters are only sent to terminals; control characters in names\nare always escaped. In the name of a domain, write a colon as `\\:`, as in `a\\:b:key`.\n',
    '## Common options\n',
    'All commands that talk to trackers have these options. Trackers and token each come from the first of these that\ngives them: their own options, `--profile`, the environment, the profile of the last `omg login`, and the system that\n`omg up` runs on this machine.\n',
    optionTable(program.options.filter(({ long }) => long !== '--version')),
    '`NO_COLOR` turns colours off. Profiles are kept in `~/.config/omgfiles/config.json`; `OMG_CONFIG` names another\nfile.\n',
    '## Exit status\n',
    table(
      ['status', 'meaning'],
      exitStatuses.map(([status, text]) => [status, text]),
    ),
    '## Commands\n',
    ...commands.map(command => section(command, program)),
    '## JSON\n',
    'With `--json` a command prints one document per line. These are the types named above; `?` marks fields that may be\nabsent.\n',
    ...used.map(([name, text]) => `### ${name}\n\n\`\`\`text\n${text}\n\`\`\`\n`),
  ]
  return `${parts.join('\n').trimEnd()}\n`
}

/** The commands that have no subcommands, in the order of the help. */
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

/** A table in Markdown, with aligned columns. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map(row => row.map(escape))
  const widths = head.map((_, i) => Math.max(3, ...all.map(row => (row[i] ?? '').length)))
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`
  const [first = [], ...rest] = all
  const rule = `| ${widths.map(width => '-'.repeat(width)).join(' | ')} |`
  return `${[line(first), rule, ...rest.map(line)].join('\n')}\n`
}

/** Escapes what Markdown would not take as plain text. Code spans stay as they are. */
const escape = (text: string): string =>
  text
    .split('`')
    .map((part, i) => (i % 2 === 0 ? part.replaceAll(/[<>*]/g, '\\$&') : part))
    .join('`')
    .replaceAll('|', '\\|')
