/**
 * The admin console: lines that begin with `!`, on the same port as the queries. Whoever may connect
 * may look; what changes something is for this machine only. The words, and the lines of the answers,
 * are those of MogileFS (`lib/MogileFS/Connection/Client.pm`), which operators' scripts read.
 */
import { isLoopback } from '../../../common/config.ts'
import type { Jobs } from '../../workers/jobs.ts'
import type { WireClient } from '../connection.ts'
import { help } from './help.ts'
import { printable } from './printable.ts'
import type { Queries } from './queries.ts'
import { statLines } from './stats.ts'
import type { Watchers } from './watchers.ts'

/** Clients compare it to know what they may ask for. */
const compatibleVersion = '2.73'

/** Most that anybody may want of a job. */
const maxWanted = 500

export interface ConsoleOptions {
  readonly jobs: Jobs
  readonly queries: Queries
  readonly watchers: Watchers
  /** Closes the tracker once the answer is out. */
  readonly shutDown: () => void
}

/** Answers with the lines before the dot. `args` is what followed the word, a wire string. */
type Command = (args: string, client: WireClient) => readonly string[]

/** Answers a console line with complete lines, the lone dot included. Both are wire strings. */
export function createConsole(
  options: ConsoleOptions,
): (line: string, client: WireClient) => string {
  const commands = commandsOf(options)
  return (line, client) => {
    const [, word = '', args = ''] = /^!(\S+)(?:\s+(.*))?$/s.exec(line) ?? []
    const [, command] = commands.find(([pattern]) => pattern.test(word)) ?? [
      undefined,
      () => [help],
    ]
    return [...command(args, client), '.\r\n'].join('\r\n')
  }
}

/** In the order in which they are tried: a word may go on behind a command's name. */
function commandsOf({ jobs, queries, watchers, shutDown }: ConsoleOptions): [RegExp, Command][] {
  const startedAt = performance.now()
  return [
    [/^stats$/, () => statLines({ startedAt, jobs: jobs.list(), queries })],
    [
      /^shutdown/,
      local(() => {
        shutDown()
        return []
      }),
    ],
    [/^jobs/, () => jobLines(jobs)],
    [/^want/, local(args => [want(jobs, args)])],
    [/^to/, local(args => [tell(jobs, args)])],
    [
      /^(?:queue|pend)/,
      () => queries.waiting().map(({ address, line }) => `${address} ${printable(line)}`),
    ],
    [
      /^watch/,
      (_, client) => [
        watchers.toggle(client) ? 'Added you to watcher list.' : 'Removed you from watcher list.',
      ],
    ],
    [/^recent/, () => recentLines(queries)],
    [/^version/, () => [compatibleVersion]],
  ]
}

/** A command for this machine only. */
const local =
  (command: Command): Command =>
  (args, client) =>
    isLoopback(client.remoteAddress) ? command(args, client) : ['ERROR: not allowed']

const jobLines = (jobs: Jobs): string[] =>
  jobs
    .list()
    .flatMap(({ name, count, desired }) => [
      `${name} count ${count}`,
      `${name} desired ${desired}`,
      `${name} pids ${count > 0 ? process.pid : ''}`,
    ])

function want(jobs: Jobs, args: string): string {
  const [, digits, job] = /^(\d+)\s+(\S+)/.exec(args) ?? []
  if (digits === undefined || job === undefined) return 'ERROR: usage: !want <count> <jobclass>'
  if (!jobs.begun) return 'ERROR: Monitor has not completed initial run yet'
  const count = Math.min(Number(digits), maxWanted)
  if (jobs.want(job, count)) return `Now desiring ${count} children doing '${job}'.`
  const names = jobs.list().map(({ name }) => name)
  return `ERROR: Invalid class '${printable(job)}'.  Valid classes: ${names.join(', ')}`
}

function tell(jobs: Jobs, args: string): string {
  const [, job, message] = /^(\S+)\s+(.+)$/s.exec(args) ?? []
  if (job === undefined || message === undefined) return 'ERROR: usage: !to <jobclass> <message>'
  return `Message sent to ${jobs.tell(job, message.trimEnd())} children.`
}

const recentLines = (queries: Queries): string[] =>
  queries
    .recent()
    .map(
      ({ address, line, elapsedMs, workMs }) =>
        `${address} ${printable(line)} ${seconds(elapsedMs)} ${seconds(workMs)}`,
    )

const seconds = (ms: number): string => (ms / 1000).toFixed(4)
