/** Registers what `omg up` runs with the tracker: hosts, devices, domain and tokens. Each step is idempotent. */
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TrackerApi } from '../../client/tracker-api/index.ts'
import { parseAddress } from '../../common/config.ts'
import { isCoded } from '../../common/errors.ts'
import type { NewToken } from '../../common/protocol/configuration.ts'
import { writeSecret } from './data-files.ts'

export interface NodeOnDisk {
  readonly name: string
  readonly devids: readonly number[]
  /** HOST:PORT. */
  readonly address: string
}

/** Registers nodes and devices that are new, and updates the addresses of nodes that have moved. */
export async function registerNodes(api: TrackerApi, nodes: readonly NodeOnDisk[]): Promise<void> {
  const hosts = new Map((await api.listHosts()).map(host => [host.name, host]))
  const devices = new Set((await api.listDevices()).map(({ devid }) => devid))
  for (const { name, devids, address } of nodes) {
    const { host: ip, port } = parseAddress(name, address)
    const known = hosts.get(name)
    if (!known) await api.createHost({ name, ip, port, status: 'alive' })
    else if (known.ip !== ip || known.port !== port) await api.changeHost(name, { ip, port })
    for (const devid of devids) {
      if (!devices.has(devid)) await api.createDevice({ devid, host: name })
    }
  }
}

/** Creates a domain unless it exists. */
export async function ensureDomain(api: TrackerApi, name: string): Promise<void> {
  await api.createDomain(name).catch((err: unknown) => {
    if (!isCoded(err, 'domain_exists')) throw err
  })
}

/** The text of a token, which is kept in `file`. When the file is lost, the token is replaced. */
export async function ensureToken(
  api: TrackerApi,
  file: string,
  wanted: NewToken,
): Promise<string> {
  const existing = (await api.listTokens()).find(({ name }) => name === wanted.name)
  const kept = await readFile(file, 'utf8').catch(() => undefined)
  if (existing && kept !== undefined) return kept.trim()
  if (existing) await api.deleteToken(existing.id)
  const { token } = await api.createToken(wanted)
  await writeSecret(file, token)
  return token
}

/** Resolves when all devices of the nodes can be written to. Throws an Error after a minute. */
export async function untilWriteable(
  api: TrackerApi,
  nodes: readonly NodeOnDisk[],
  signal: AbortSignal,
): Promise<void> {
  const ours = new Set(nodes.flatMap(({ devids }) => devids))
  const deadline = performance.now() + 60_000
  for (;;) {
    const devices = await api.listDevices()
    const waiting = devices.filter(
      ({ devid, status, observed }) =>
        ours.has(devid) && status === 'alive' && observed !== 'writeable',
    )
    if (waiting.length === 0) return
    if (performance.now() > deadline) {
      const names = waiting.map(({ devid }) => `dev${devid}`).join(', ')
      throw new Error(`${names} cannot be written to: see the log of the storage nodes`)
    }
    await sleep(200, undefined, { signal })
  }
}
