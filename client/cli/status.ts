/** `omg status`: the state of the cluster. */
import type { Command } from 'commander'
import { formatAddress } from '../../common/address.ts'
import type { DeviceInfo, HostInfo } from '../../common/protocol/configuration.ts'
import type { ClusterStatus } from '../../common/protocol/status.ts'
import type { Cli } from './command.ts'
import { outcomeOf, ToldFailure } from './failure.ts'
import { painter } from './paint.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatSize, formatTable, plural, printable, type Cell } from './text.ts'

/** Adds the command. */
export function addStatus(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'status',
      'show trackers, hosts, devices and queues; exit 1 if something is wrong',
      'the ClusterStatus with trackers: an array of { url, version?, error? }',
    )
    .alias('check')
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      const { out, json, host } = session
      const answers = await askAll(session)
      const failures = answers.filter(({ status }) => !status).map(({ failure }) => failure)
      const status = answers.find(answer => answer.status)?.status
      if (!status) throw failures[0]
      if (json) await out.json({ ...status, trackers: answers.map(trackerToJson) })
      else {
        const trackers = describeTrackers(answers, host.stdout)
        await out.write(`${describeStatus(status, host.stdout)}\n${trackers}`)
      }
      for (const failure of failures) out.note(outcomeOf(failure).text ?? '')
      if (failures.length > 0 || !isWell(status)) throw new ToldFailure(1)
    }),
  )
}

/** What a tracker answered, or why it did not. */
interface TrackerAnswer {
  readonly url: string
  readonly status?: ClusterStatus
  readonly failure?: unknown
}

/** Asks each tracker that was named separately: all of them should answer. */
function askAll({ trackers, askOne, signal }: Session): Promise<TrackerAnswer[]> {
  return Promise.all(
    trackers.map(async url => {
      try {
        return { url, status: await askOne(url, api => api.status({ signal })) }
      } catch (failure) {
        signal.throwIfAborted()
        return { url, failure }
      }
    }),
  )
}

const trackerToJson = ({ url, status, failure }: TrackerAnswer): object =>
  status ? { url, version: status.version } : { url, error: outcomeOf(failure).text }

// What is dead is gone for good, so it may be away.
const isThere = ({ status, observed }: HostInfo | DeviceInfo): boolean =>
  status === 'dead' || (status !== 'down' && observed !== 'unreachable')

const isWell = ({ hosts, devices }: ClusterStatus): boolean =>
  [...hosts, ...devices].every(isThere) &&
  devices.every(({ status, problem }) => status === 'dead' || problem === undefined)

/** Makes table cells of states: good ones are green, bad ones red, others yellow. */
function stateCell(stdout: NodeJS.WriteStream): (state: string) => Cell {
  const { red, green, yellow, plain } = painter(stdout)
  const paints: Readonly<Record<string, (text: string) => string>> = {
    alive: green,
    reachable: green,
    writeable: green,
    down: red,
    unreachable: red,
    readonly: yellow,
    drain: yellow,
    readable: yellow,
    unknown: yellow,
  }
  return text => ({ text, paint: paints[text] ?? plain })
}

/** A table of the trackers that were asked. */
function describeTrackers(answers: readonly TrackerAnswer[], stdout: NodeJS.WriteStream): string {
  const word = stateCell(stdout)
  return formatTable(
    [{ title: 'TRACKER', shrink: true }, { title: 'VERSION' }, { title: 'SEEN' }],
    answers.map(({ url, status }) => [
      url,
      status?.version ?? '-',
      word(status ? 'reachable' : 'unreachable'),
    ]),
    stdout.columns,
  )
}

/** A summary and tables of hosts, devices and queues, at most as wide as the terminal. */
export function describeStatus(status: ClusterStatus, stdout: NodeJS.WriteStream): string {
  const { version, hosts, devices, files, openUploads, healing } = status
  const { red } = painter(stdout)
  const counts = [
    plural(hosts.length, 'host'),
    plural(devices.length, 'device'),
    `about ${plural(files, 'file')}`,
    plural(openUploads, 'open upload'),
  ]
  const head = [
    `omgfiles ${version}: ${counts.join(', ')}\n`,
    flushLine(hosts, red),
    problemLines(devices, red),
    healingLine(healing),
  ]
  return [
    head.join(''),
    hostTable(hosts, stdout),
    deviceTable(devices, stdout),
    queueTable(status.queues, stdout),
  ].join('\n')
}

function hostTable(hosts: readonly HostInfo[], stdout: NodeJS.WriteStream): string {
  const word = stateCell(stdout)
  return formatTable(
    [
      { title: 'HOST', shrink: true },
      { title: 'ADDRESS', shrink: true },
      { title: 'STATUS' },
      { title: 'SEEN' },
    ],
    hosts.map(({ name, ip, port, status, observed }) => [
      name,
      formatAddress({ host: ip, port }),
      word(status),
      word(observed),
    ]),
    stdout.columns || 80,
  )
}

function deviceTable(devices: readonly DeviceInfo[], stdout: NodeJS.WriteStream): string {
  const { red, plain } = painter(stdout)
  const word = stateCell(stdout)
  const room = (space: Space): Cell[] => [
    formatSize(space.usedBytes),
    formatSize(space.totalBytes),
    {
      text: fillText(space),
      paint: (space.usedBytes ?? 0) > 0.9 * (space.totalBytes ?? Infinity) ? red : plain,
    },
  ]
  return formatTable(
    [
      { title: 'DEVICE' },
      { title: 'HOST', shrink: true },
      { title: 'STATUS' },
      { title: 'SEEN' },
      { title: 'USED', right: true },
      { title: 'SIZE', right: true },
      { title: 'FILL' },
    ],
    [
      ...devices.map(device => [
        `dev${device.devid}`,
        device.host,
        word(device.status),
        word(device.observed),
        ...room(device),
      ]),
      ['total', '', '', '', ...room(totalOf(devices))],
    ],
    stdout.columns || 80,
  )
}

function queueTable(queues: ClusterStatus['queues'], stdout: NodeJS.WriteStream): string {
  const { red, plain } = painter(stdout)
  return formatTable(
    [
      { title: 'QUEUE' },
      { title: 'WAITING', right: true },
      { title: 'DUE', right: true },
      { title: 'LAST ERROR', shrink: true },
    ],
    Object.entries(queues).map(([name, { waiting, due, lastError }]) => [
      name,
      String(waiting),
      String(due),
      { text: lastError ?? '-', paint: lastError === undefined ? plain : red },
    ]),
    stdout.columns || 80,
  )
}

/** A warning about hosts that lose files when their power fails; '' when there are none. */
function flushLine(hosts: ClusterStatus['hosts'], paint: (text: string) => string): string {
  const names = hosts.filter(({ fsync }) => fsync === 'off').map(({ name }) => name)
  if (names.length === 0) return ''
  return `${paint('fsync: off')} on ${names.join(', ')}: a power cut there loses acknowledged files\n`
}

/** The problems of devices that can be reached, a line each. The tables show which cannot be reached. */
function problemLines(devices: readonly DeviceInfo[], paint: (text: string) => string): string {
  return devices
    .flatMap(({ devid, status, observed, problem }) =>
      problem === undefined || status === 'dead' || observed === 'unreachable'
        ? []
        : [`${paint(`dev${devid}`)}: ${printable(problem)}\n`],
    )
    .join('')
}

/** What is lost, what is away, and how long healing will take; '' when there is nothing to say. */
function healingLine({ lost, waiting, files, secondsToSafe }: ClusterStatus['healing']): string {
  const names = (devids: readonly number[]): string => devids.map(devid => `dev${devid}`).join(', ')
  const parts = [
    lost.length > 0 && `treated as lost: ${names(lost.map(({ devid }) => devid))}`,
    waiting && `away, not treated as lost: ${names(waiting.devids)}, since ${waiting.why}`,
    files > 0 &&
      `${plural(files, 'file')} to check or copy, safe in ${secondsToSafe === null ? 'an unknown time' : `about ${secondsToSafe} s`}`,
  ].filter(part => typeof part === 'string')
  return parts.length > 0 ? `${parts.join('; ')}\n` : ''
}

type Space = Pick<DeviceInfo, 'usedBytes' | 'totalBytes'>

/** The sum over the devices that are not dead. One that has not reported its size counts as 0. */
function totalOf(devices: readonly DeviceInfo[]): Space {
  const here = devices.filter(({ status }) => status !== 'dead')
  const sum = (pick: (device: DeviceInfo) => number | null): number =>
    here.reduce((total, device) => total + (pick(device) ?? 0), 0)
  return { usedBytes: sum(one => one.usedBytes), totalBytes: sum(one => one.totalBytes) }
}

function fillText({ usedBytes, totalBytes }: Space): string {
  if (usedBytes === null || !totalBytes) return '-'
  const share = Math.min(usedBytes / totalBytes, 1)
  const filled = Math.round(share * 10)
  return `${'#'.repeat(filled)}${'.'.repeat(10 - filled)} ${Math.round(share * 100)}%`
}
