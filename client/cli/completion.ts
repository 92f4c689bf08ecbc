/** `omg completion`: scripts with which a shell completes `omg` command lines. */
import type { Command } from 'commander'
import { oneOf, type Cli } from './command.ts'

const shells = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof shells)[number]

/** A place on the command line, and what may follow there. */
interface Place {
  /** The commands before it: empty, `host`, `host add`. */
  readonly path: string
  readonly words: readonly { readonly word: string; readonly about: string }[]
  readonly options: readonly {
    readonly flag: string
    readonly about: string
    readonly value: boolean
  }[]
}

/** Adds the command. */
export function addCompletion(program: Command, cli: Cli): void {
  const command = program
    .command('completion')
    .description('print a script for tab completion, to be used like source <(omg completion bash)')
    .argument('<SHELL>', shells.join(', '), oneOf(shells))
  command.action(async (shell: Shell) => {
    const places = placesOf(program)
    await cli.output(command).write(scripts[shell](places))
  })
}

/** The place after each command that help shows, below `command` and itself. */
function placesOf(command: Command, path = ''): Place[] {
  const help = command.createHelp()
  const children = help.visibleCommands(command).filter(child => child.name() !== 'help')
  const place: Place = {
    path,
    words: children.flatMap(child =>
      [child.name(), ...child.aliases()].map(word => ({ word, about: child.description() })),
    ),
    options: help.visibleOptions(command).map(option => ({
      flag: option.long ?? option.flags,
      about: option.description,
      value: option.required || option.optional,
    })),
  }
  const below = children.flatMap(child =>
    [child.name(), ...child.aliases()].flatMap(word => placesOf(child, `${path} ${word}`.trim())),
  )
  return [place, ...below]
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

// The script walks the words to find the command that they name, and then offers its subcommands, or
// its options after a `-`. Where it offers nothing, the shell completes file names.
const bash = (places: readonly Place[]): string => `_omg() {
  local current="\${COMP_WORDS[COMP_CWORD]}" place="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="\${COMP_WORDS[i]}"
    case " $(_omg_commands "$place") " in
      *" $word "*) place="\${place:+$place }$word" ;;
    esac
  done
  case "$current" in
    -*) word="$(_omg_options "$place")" ;;
    *) word="$(_omg_commands "$place")" ;;
  esac
  COMPREPLY=($(compgen -W "$word" -- "$current"))
}
_omg_commands() {
  case "$1" in
${caseOf(places, ({ words }) => words.map(({ word }) => word))}
  esac
}
_omg_options() {
  case "$1" in
${caseOf(places, ({ options }) => options.map(({ flag }) => flag))}
  esac
}
complete -o default -F _omg omg
`

const caseOf = (places: readonly Place[], wordsOf: (place: Place) => readonly string[]): string =>
  places
    .filter(place => wordsOf(place).length > 0)
    .map(place => `    ${quote(place.path)}) echo ${quote(wordsOf(place).join(' '))} ;;`)
    .join('\n')

const zsh = (places: readonly Place[]): string => `#compdef omg
autoload -U +X bashcompinit && bashcompinit
${bash(places)}`

function fish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words, options }) => {
    const at = (test: string): string => `complete -c omg -n ${quote(`${test} ${quote(path)}`)}`
    return [
      ...words.map(
        ({ word, about }) => `${at('__omg_at')} -f -a ${quote(word)} -d ${quote(about)}`,
      ),
      ...options
        .filter(({ flag }) => flag.startsWith('--'))
        .map(
          ({ flag, about, value }) =>
            `${at('__omg_below')} -l ${flag.slice(2)}${value ? ' -r' : ''} -d ${quote(about)}`,
        ),
    ]
  })
  return `function __omg_typed
  set -l words (commandline -opc)
  set -e words[1]
  if test (count $words) -gt 0
    string join ' ' (string match -v -- '-*' $words)
  end
end
function __omg_at
  test "$(__omg_typed)" = "$argv[1]"
end
function __omg_below
  __omg_at $argv; or string match -q -- "$argv[1] *" "$(__omg_typed)"
end
${lines.join('\n')}
`
}

const scripts: Readonly<Record<Shell, (places: readonly Place[]) => string>> = { bash, zsh, fish }
