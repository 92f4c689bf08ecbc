/**
 * A cluster in one line: `min=2 h1[d1=X d2=_] h2=down[d3=_/drain]`. `X` holds a replica, `_` does
 * not. Behind a host's `=` and a device's `/` stand what is not as it should be: a status, what the
 * monitor sees, where it stands (`zone:a`, `net:10.1`), how full or busy it is. `avoid=d3` failed just now.
 */
import type { DeviceStatus, HostStatus } from '../../../common/protocol/configuration.ts'
import type { Device, DeviceObservation, HostObservation } from '../../../tracker/policy/device.ts'

export interface Layout {
  readonly min: number
  readonly devices: Device[]
  /** Devices that hold a replica. */
  readonly devids: number[]
  readonly avoid: ReadonlySet<number>
}

const mebibyte = 1024 * 1024
export const totalBytes = 1000 * mebibyte
/** What stays free on every device of a layout. */
export const reserve = 100 * mebibyte

const hostStatuses = ['alive', 'readonly', 'down', 'dead']
const hostObservations = ['reachable', 'unreachable', 'unknown']
const deviceStatuses = ['alive', 'readonly', 'drain', 'down', 'dead']
const deviceObservations = ['writeable', 'readable', 'unreachable', 'unknown']

/** Reads the notation; throws an Error on a word that it does not know. */
export function parseLayout(text: string): Layout {
  const devids: number[] = []
  const devices: Device[] = []
  for (const [, id, words = '', inside = ''] of text.matchAll(
    /h(\d+)(?:=([\w,.:]+))?\[([^\]]*)\]/g,
  )) {
    const host = { id: Number(id), name: `h${id}`, ...hostOf(words.split(',')) }
    for (const one of inside.split(' ').filter(Boolean)) {
      const match = /^d(\d+)=([X_])(?:\/([\w,=.]+))?$/.exec(one)
      if (!match) throw new Error(`no device: ${one}`)
      const devid = Number(match[1])
      if (match[2] === 'X') devids.push(devid)
      devices.push({
        devid,
        host,
        weight: 100,
        totalBytes,
        usedBytes: totalBytes / 2,
        ...deviceOf(match[3]?.split(',')),
      })
    }
  }
  return {
    min: Number(/min=(\d+)/.exec(text)?.[1] ?? 2),
    devices,
    devids,
    avoid: new Set([...text.matchAll(/avoid=d(\d+)/g)].map(match => Number(match[1]))),
  }
}

type HostState = Pick<Device['host'], 'status' | 'observed' | 'zone' | 'network'>

function hostOf(all: string[]): HostState {
  const named = (name: string): string | undefined =>
    all.find(word => word.startsWith(`${name}:`))?.slice(name.length + 1)
  const zone = named('zone')
  const network = zone ?? named('net')
  const words = all.filter(word => !/^(zone|net):/.test(word))
  const known = [...hostStatuses, ...hostObservations, '']
  const strange = words.find(word => !known.includes(word))
  if (strange !== undefined) throw new Error(`no state of a host: ${strange}`)
  return {
    status: (words.find(word => hostStatuses.includes(word)) ?? 'alive') as HostStatus,
    observed: (words.find(word => hostObservations.includes(word)) ??
      'reachable') as HostObservation,
    ...(zone !== undefined && { zone }),
    ...(network !== undefined && { network }),
  }
}

function deviceOf(words: string[] = []): Pick<Device, 'status' | 'observed'> & Partial<Device> {
  const sizes = words.flatMap((word): Partial<Device>[] => {
    const [name, value] = word.split('=')
    if (name === 'free') return [{ usedBytes: totalBytes - Number(value) * mebibyte }]
    if (name === 'weight') return [{ weight: Number(value) }]
    if (name === 'busy') return [{ utilization: Number(value) }]
    if (name === 'coming') return [{ load: { files: Number(value), bytes: 0 } }]
    if (name === 'lost') return [{ lost: true }]
    if (name === 'skewed') return [{ clockSkewed: true }]
    if (name === 'sizeless') return [{ totalBytes: null, usedBytes: null }]
    if (![...deviceStatuses, ...deviceObservations].includes(word)) {
      throw new Error(`no state of a device: ${word}`)
    }
    return []
  })
  return Object.assign(
    {
      status: (words.find(word => deviceStatuses.includes(word)) ?? 'alive') as DeviceStatus,
      observed: (words.find(word => deviceObservations.includes(word)) ??
        'writeable') as DeviceObservation,
    },
    ...sizes,
  )
}

/** Random numbers that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
