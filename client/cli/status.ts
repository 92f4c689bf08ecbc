/** `omg status`: whether all is well. */
import type { Command } from 'commander'
import { formatAddress } from '../../common/address.ts'
import type { DeviceInfo, HostInfo } from '../../common/protocol/configuration.ts'
import type { ClusterStatus } from '../../common/protocol/status.ts'
import type { Cli } from './command.ts'
import { outcomeOf, ToldFailure } from './failure.ts'
import { painter } from './paint.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, formatTable, plural, type Cell } from './text.ts'

/** Adds the command. */
export function addStatus(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'status',
      'show hosts, devices and queues; exit 1 if something is down',
      'the ClusterStatus',
    )
    .alias('check')
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      const { answers, failures } = await askAll(session)
      const [status] = answers
      if (!status) throw failures[0]
      if (session.json) await session.out.json(status)
      else await session.out.write(describeStatus(status, session.host.stdout))
      for (const failure of failures) session.out.note(outcomeOf(failure).text ?? '')
      const healthy = [...status.hosts, ...status.devices].every(isWell)
      if (failures.length > 0 || !healthy) throw new ToldFailure(1)
    }),
  )
}

/** Asks every tracker that was named by itself, since each of them should answer. */
async function askAll({
  trackers,
  createApi,
  signal,
}: Session): Promise<{ answers: ClusterStatus[]; failures: unknown[] }> {
  const answers: ClusterStatus[] = []
  const failures: unknown[] = []
  await Promise.all(
    trackers.map(async url => {
      const api = createApi(url)
      try {
        answers.push(await api.status({ signal }))
      } catch (err) {
        signal.throwIfAborted()
        failures.push(err)
      } finally {
        await api.close()
      }
    }),
  )
  return { answers, failures }
}

// Dead ones are gone for good: nothing is wrong with their being away.
const isWell = ({ status, observed }: HostInfo | DeviceInfo): boolean =>
  status === 'dead' || (status !== 'down' && observed !== 'unreachable')

/** Tables of hosts, devices and queues, as wide as the terminal at most. */
export function describeStatus(
  { version, hosts, devices, files, openUploads, queues, healing }: ClusterStatus,
  stdout: NodeJS.WriteStream,
): string {
  const width = stdout.columns || 80
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
  const word = (text: string): Cell => ({ text, paint: paints[text] ?? plain })

  const head = `omgfiles ${version}: ${[
    plural(hosts.length, 'host'),
    plural(devices.length, 'device'),
    `about ${plural(files, 'file')}`,
    plural(openUploads, 'open upload'),
  ].join(', ')}\n`
  const hostTable = formatTable(
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
    width,
  )
  const deviceTable = formatTable(
    [
      { title: 'DEVICE' },
      { title: 'HOST', shrink: true },
      { title: 'STATUS' },
      { title: 'SEEN' },
      { title: 'USED', right: true },
      { title: 'SIZE', right: true },
      { title: 'FILL' },
    ],
    devices.map(device => [
      `dev${device.devid}`,
      device.host,
      word(device.status),
      word(device.observed),
      sizeText(device.usedBytes),
      sizeText(device.totalBytes),
      {
        text: fillText(device),
        paint: (device.usedBytes ?? 0) > 0.9 * (device.totalBytes ?? Infinity) ? red : plain,
      },
    ]),
    width,
  )
  const queueTable = formatTable(
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
    width,
  )
  return [
    head + flushLine(hosts, red) + healingLine(healing),
    hostTable,
    deviceTable,
    queueTable,
  ].join('\n')
}

/** Names the hosts that lose files when their power fails; empty when there is none. */
function flushLine(hosts: ClusterStatus['hosts'], paint: (text: string) => string): string {
  const names = hosts.filter(({ fsync }) => fsync === 'off').map(({ name }) => name)
  if (names.length === 0) return ''
  return `${paint('fsync: off')} on ${names.join(', ')}: a power cut there loses acknowledged files\n`
}

/** What is lost, what waits and for how long; empty when there is nothing to say. */
function healingLine({ lost, waiting, files, secondsToSafe }: ClusterStatus['healing']): string {
  const names = (devids: readonly number[]): string => devids.map(devid => `dev${devid}`).join(', ')
  const parts = [
    lost.length > 0 && `treated as lost: ${names(lost.map(({ devid }) => devid))}`,
    waiting && `away, not treated as lost: ${names(waiting.devids)}, since ${waiting.why}`,
    files > 0 &&
      `${plural(files, 'file')} to look after, safe in ${secondsToSafe === null ? 'an unknown time' : `about ${secondsToSafe} s`}`,
  ].filter(part => typeof part === 'string')
  return parts.length > 0 ? `${parts.join('; ')}\n` : ''
}

const sizeText = (bytes: number | null): string => (bytes === null ? '-' : formatBytes(bytes))

function fillText({ usedBytes, totalBytes }: DeviceInfo): string {
  if (usedBytes === null || !totalBytes) return '-'
  const share = Math.min(usedBytes / totalBytes, 1)
  const filled = Math.round(share * 10)
  return `${'#'.repeat(filled)}${'.'.repeat(10 - filled)} ${Math.round(share * 100)}%`
}
