/** `omg status`: whether all is well. */
import type { Command } from 'commander'
import { formatAddress } from '../../common/address.ts'
import type { ClusterStatus, DeviceInfo, HostInfo } from '../../common/protocol.ts'
import type { Cli } from './command.ts'
import { outcomeOf, ToldFailure } from './failure.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { formatBytes, formatTable, plural, type Cell } from './text.ts'

/** Adds the command. */
export function addStatus(program: Command, cli: Cli): void {
  const command = cli
    .online(program, 'status', 'show hosts, devices and queues; exit 1 if something is down')
    .alias('check')
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async session => {
      const { answers, failures } = await askAll(session)
      const [status] = answers
      if (!status) throw failures[0]
      if (session.json) await session.out.json(status)
      else await session.out.write(describe(status, session))
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

type Paint = (text: string) => string
const paintWith =
  (code: number): Paint =>
  text =>
    `\x1b[${code}m${text}\x1b[39m`
const plain: Paint = text => text

function describe(
  { version, hosts, devices, files, openUploads, queues }: ClusterStatus,
  { host: { stdout } }: Session,
): string {
  const width = stdout.columns || 80
  // It knows NO_COLOR and dumb terminals.
  const colours = stdout.isTTY && stdout.hasColors()
  const red = colours ? paintWith(31) : plain
  const green = colours ? paintWith(32) : plain
  const yellow = colours ? paintWith(33) : plain
  const paints: Readonly<Record<string, Paint>> = {
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
  return [head, hostTable, deviceTable, queueTable].join('\n')
}

const sizeText = (bytes: number | null): string => (bytes === null ? '-' : formatBytes(bytes))

function fillText({ usedBytes, totalBytes }: DeviceInfo): string {
  if (usedBytes === null || !totalBytes) return '-'
  const share = Math.min(usedBytes / totalBytes, 1)
  const filled = Math.round(share * 10)
  return `${'#'.repeat(filled)}${'.'.repeat(10 - filled)} ${Math.round(share * 100)}%`
}
