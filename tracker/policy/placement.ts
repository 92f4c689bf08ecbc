/** Which devices to write to and to read from first. */
import { freeShare, isReadable, takesFiles, type Device } from './device.ts'

/** A source of randomness: uniform in [0, 1). */
export type Random = () => number

/**
 * `items` in weighted random order: each next one is drawn with the probability of its share of
 * the weight that remains. Items without weight come last, in the given order.
 */
export function weightedOrder<T>(
  items: readonly T[],
  weightOf: (item: T) => number,
  random: Random,
): T[] {
  // The order of exponential variates with these rates is that of such draws (Efraimidis, Spirakis 2006).
  return items
    .map(item => {
      const weight = weightOf(item)
      return { item, at: weight > 0 ? -Math.log(1 - random()) / weight : Infinity }
    })
    .sort((a, b) => (a.at === b.at ? 0 : a.at - b.at))
    .map(({ item }) => item)
}

/**
 * The first of each host in the given order, then the second of each, and so on; of those of one rank
 * the first of each zone come first. Hosts without a zone stand each for themselves.
 */
export function spreadOverHosts(devices: readonly Device[]): Device[] {
  const turns = new Map<string, number>()
  const turnOf = (key: string): number => {
    const turn = turns.get(key) ?? 0
    turns.set(key, turn + 1)
    return turn
  }
  return devices
    .map(device => {
      const { id, zone } = device.host
      const round = turnOf(`host ${id}`)
      return { device, round, turn: zone === undefined ? 0 : turnOf(`${round} ${zone}`) }
    })
    .sort((a, b) => a.round - b.round || a.turn - b.turn)
    .map(({ device }) => device)
}

/** Share of a device that is free. An unknown one counts as half, so that a fresh device gets its share. */
const shareOf = (device: Device): number => freeShare(device) ?? 0.5

/** So many files under way to a device halve its chance for one more. */
const manyFiles = 32

/**
 * Ranks devices for new replicas: more free space and more weight come first more often. What is under
 * way to a device counts against it, so that an empty one is filled faster than others, not alone.
 */
export function orderForWrite(devices: readonly Device[], random: Random): Device[] {
  const weight = (device: Device): number =>
    (shareOf(device) * Math.max(1, device.weight)) / (1 + (device.load?.files ?? 0) / manyFiles)
  return weightedOrder(devices, weight, random)
}

/** Only the emptiest devices get new files, as in MogileFS: the fuller ones are left to catch up. */
const mostCandidates = 20

/**
 * Where a new file of `size` bytes (0: not known) may go: the best device first, each further one on
 * another host as long as there is one. Empty when no device takes files.
 */
export function placeNewFile(
  devices: readonly Device[],
  { size, reserve }: { size: number; reserve: number },
  random: Random,
): Device[] {
  const takers = devices
    .filter(device => takesFiles(device, { reserve, size }))
    .toSorted((a, b) => shareOf(b) - shareOf(a))
  const candidates = spreadOverHosts(takers).slice(0, mostCandidates)
  const order = orderForWrite(candidates, random)
  // Whether it has room for the file is a guess where the fill level is unknown: not the first choice.
  if (size > 0) order.sort((a, b) => Number(isGuess(a)) - Number(isGuess(b)))
  return spreadOverHosts(order)
}

const isGuess = (device: Device): boolean => freeShare(device) === undefined

/** Busy devices are read less: 102 minus the utilization, else the configured weight; 0 counts as 100. */
function readWeight({ utilization, weight }: Device): number {
  return (utilization === undefined ? weight : 102 - utilization) || 100
}

/**
 * The order in which to read the replicas on `devices`: readable ones by load, those being drained
 * behind them, then those whose nodes may refuse signatures, and last those that cannot be read now.
 */
export function orderForRead(devices: readonly Device[], random: Random): Device[] {
  const rank = (device: Device): number =>
    !isReadable(device) ? 3 : device.clockSkewed ? 2 : device.status === 'drain' ? 1 : 0
  return weightedOrder(devices, readWeight, random).sort((a, b) => rank(a) - rank(b))
}
