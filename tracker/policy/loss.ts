/** Which devices are to be treated as lost, and when it is wiser to wait. */
import type { Device } from './device.ts'

/** A device, and for how long nobody has been able to read it. */
export interface Watched {
  readonly device: Device
  /** Undefined: somebody can read it. */
  readonly awaySeconds: number | undefined
}

export interface LossLimits {
  /** Seconds away after which a device counts as lost. */
  readonly lostAfter: number
  /** Percent of the devices that are lost at the same time at most, rounded up to a device. */
  readonly maxShare: number
  readonly maintenance: boolean
}

export interface LossDecision {
  /** To be treated as lost from here on. */
  readonly lose: readonly number[]
  /** Back again. */
  readonly recover: readonly number[]
  /** Away for long enough, and still not treated as lost. */
  readonly waiting: readonly number[]
  /** Why, as a sentence for people. */
  readonly why: string | undefined
}

/** Its operator says that it is there; one that is marked down is away with his knowledge. */
const isExpected = ({ status, host }: Device): boolean =>
  (status === 'alive' || status === 'readonly' || status === 'drain') &&
  (host.status === 'alive' || host.status === 'readonly')

/**
 * Judges all devices of a cluster. What is away now, for however short a time, counts against the share:
 * when a switch fails, the first device to have been away for long is not taken for the only one.
 */
export function judgeLosses(
  watched: readonly Watched[],
  { lostAfter, maxShare, maintenance }: LossLimits,
): LossDecision {
  const recover = watched
    .filter(
      ({ device, awaySeconds }) =>
        device.lost && (awaySeconds === undefined || !isExpected(device)),
    )
    .map(({ device }) => device.devid)
  const expected = watched.filter(({ device }) => isExpected(device))
  const away = expected.filter(({ awaySeconds }) => awaySeconds !== undefined)
  const due = away
    .filter(({ device, awaySeconds = 0 }) => !device.lost && awaySeconds >= lostAfter)
    .map(({ device }) => device.devid)
  const why = due.length > 0 ? reasonToWait({ expected, away, maxShare, maintenance }) : undefined
  return why === undefined
    ? { lose: due, recover, waiting: [], why }
    : { lose: [], recover, waiting: due, why }
}

function reasonToWait({
  expected,
  away,
  maxShare,
  maintenance,
}: {
  readonly expected: readonly Watched[]
  readonly away: readonly Watched[]
  readonly maxShare: number
  readonly maintenance: boolean
}): string | undefined {
  if (maintenance) return 'maintenance is on'
  const most = Math.ceil((expected.length * maxShare) / 100)
  if (away.length > most) {
    return `${away.length} of ${expected.length} devices are away, more than ${maxShare} % of them (max_lost_share)`
  }
  const hosts = new Set(expected.map(({ device }) => device.host.id))
  const left = new Set(
    expected.filter(one => !away.includes(one)).map(({ device }) => device.host.id),
  )
  if (left.size < hosts.size && left.size < 2) {
    return `${left.size === 1 ? 'only one host' : 'no host'} of ${hosts.size} would be left`
  }
  return undefined
}
