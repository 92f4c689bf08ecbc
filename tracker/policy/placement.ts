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
  const left = items.map(item => ({ item, weight: Math.max(0, weightOf(item)) }))
  let sum = left.reduce((total, { weight }) => total + weight, 0)
  const order: T[] = []
  while (left.length > 0 && sum > 0) {
    let point = random() * sum
    let index = left.findIndex(({ weight }) => (point -= weight) < 0)
    // Rounding may leave a rest beyond the last weight.
    if (index < 0) index = left.findLastIndex(({ weight }) => weight > 0)
    if (index < 0) break
    const [drawn] = left.splice(index, 1)
    if (!drawn) break
    order.push(drawn.item)
    sum -= drawn.weight
  }
  return order.concat(left.map(({ item }) => item))
}

/** The first of each host in the given order, then the second of each, and so on. */
export function spreadOverHosts(devices: readonly Device[]): Device[] {
  const seen = new Map<number, number>()
  return devices
    .map(device => {
      const round = seen.get(device.host.id) ?? 0
      seen.set(device.host.id, round + 1)
      return { device, round }
    })
    .sort((a, b) => a.round - b.round)
    .map(({ device }) => device)
}

/** An unknown fill level counts as half full, so that a fresh device gets its share. */
const unknownShare = 0.5

/** Ranks devices for new replicas: more free space and more weight come first more often. */
export function orderForWrite(devices: readonly Device[], random: Random): Device[] {
  const weight = (device: Device): number =>
    (freeShare(device) ?? unknownShare) * Math.max(1, device.weight)
  return weightedOrder(devices, weight, random)
}

/**
 * Where a new file of `size` bytes may go: the best device first, each further one on another host
 * as long as there is one. Empty when no device takes files.
 */
export function placeNewFile(
  devices: readonly Device[],
  { size, reserve }: { size: number; reserve: number },
  random: Random,
): Device[] {
  const candidates = devices.filter(device => takesFiles(device, { reserve, size }))
  return spreadOverHosts(orderForWrite(candidates, random))
}

/** Busy devices are read less: 102 minus the utilization, else the configured weight; 0 counts as 100. */
function readWeight({ utilization, weight }: Device): number {
  return (utilization === undefined ? weight : 102 - utilization) || 100
}

/**
 * The order in which to read the replicas on `devices`: readable ones by load, those being drained
 * behind them, and last those that cannot be read now.
 */
export function orderForRead(devices: readonly Device[], random: Random): Device[] {
  const rank = (device: Device): number =>
    !isReadable(device) ? 2 : device.status === 'drain' ? 1 : 0
  return weightedOrder(devices, readWeight, random).sort((a, b) => rank(a) - rank(b))
}
