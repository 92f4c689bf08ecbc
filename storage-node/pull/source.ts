/** Where a copy comes from: a replica of the same content on another device. */
import { CodedError } from '../../common/errors.ts'
import { parseReplicaPath, type Replica } from '../../common/layout.ts'
import type { Body } from '../writing/body.ts'
import type { Buffers } from '../writing/buffers.ts'
import { PullLane } from './pull-lane.ts'

/** A Source that may be asked, once its `origin` is known to be allowed. */
export interface Source {
  /** `HOST:PORT`, literally. */
  readonly origin: string
  readonly url: URL
}

const refused = (why: string): CodedError => new CodedError('source_refused', why)

/**
 * Reads a Source field. Throws source_refused unless it is the plain URL of a replica of the same
 * content on another device: numbers of devices are unique in a cluster, so one's own is oneself.
 */
export function parseSource(field: string | string[] | undefined, target: Replica): Source {
  const text = typeof field === 'string' ? field : ''
  // Parsers fold what they find odd; what is not spelled as we would is no address of ours.
  const match = /^https?:\/\/([\w.:[\]-]+)(\/[\w./-]*)(\?[\w.-]*)?$/.exec(text)
  const [, origin = '', path = ''] = match ?? []
  if (!match || !URL.canParse(text)) throw refused('Source is not the URL of a replica')
  const replica = parseReplicaPath(path)
  if (replica?.fid !== target.fid) throw refused('Source is not a replica of this content')
  if (replica.devid === target.devid) throw refused('Source is the file itself')
  return { origin, url: new URL(text) }
}

/** Fetches what is to be copied. */
export interface Puller {
  /**
   * Opens the source, which should have `size` bytes where that is known; `size` of the answer is what
   * it says that it has. Throws source_failed; so does the body, when it breaks. To be closed.
   */
  open(source: Source, size?: number): Promise<Pulled>
  close(): void
}

export interface Pulled {
  readonly size: number
  readonly body: Body
  /** All of it, where it is there already. */
  readonly whole?: Buffer
  /** Ends what is not read to its end. */
  close(): void
}

/** Up to this size several are asked for at once on a connection, and held whole. */
const wholeBytes = 256 * 1024

/** Connections to one node. */
const streams = { connections: 16, depth: 1 }
const wholes = { connections: 4, depth: 16 }

/** Creates one with connections of its own. */
export function createPuller(buffers: Buffers): Puller {
  const lanes = new Map<string, PullLane>()
  const laneOf = ({ url: { origin } }: Source, limits: typeof streams): PullLane => {
    const name = `${limits.depth} ${origin}`
    let lane = lanes.get(name)
    if (!lane) {
      lane = new PullLane({ origin: new URL(origin), buffers, ...limits })
      lanes.set(name, lane)
    }
    return lane
  }
  return {
    open: (source, size = Number.POSITIVE_INFINITY) =>
      size > wholeBytes
        ? openStream(laneOf(source, streams), source)
        : fetchWhole(laneOf(source, wholes), source, size),
    close() {
      for (const lane of lanes.values()) lane.close()
    },
  }
}

const pathOf = ({ url }: Source): string => url.pathname + url.search

function openStream(lane: PullLane, source: Source): Promise<Pulled> {
  return new Promise((resolve, reject) => {
    lane.ask({
      path: pathOf(source),
      held: false,
      retried: false,
      begun(body, callOff) {
        const pieces = body.pieces()
        const release = (piece: Buffer): void => pieces.release?.(piece)
        resolve({
          size: body.length,
          body: { [Symbol.asyncIterator]: () => read(pieces), release },
          close() {
            if (!body.complete) callOff()
            body.discard()
          },
        })
      },
      complete() {},
      fail: reject,
    })
  })
}

function fetchWhole(lane: PullLane, source: Source, wanted: number): Promise<Pulled> {
  return new Promise((resolve, reject) => {
    lane.ask({
      path: pathOf(source),
      held: true,
      retried: false,
      begun(body, callOff) {
        if (body.length === wanted) return
        resolve({ size: body.length, body: [], close() {} })
        body.discard()
        callOff()
      },
      complete(body) {
        const whole = body.received()
        body.discard()
        resolve({ size: whole.length, body: [whole], whole, close() {} })
      },
      fail: reject,
    })
  })
}

async function* read(pieces: Body): AsyncGenerator<Buffer, void, undefined> {
  try {
    yield* pieces
  } catch (cause) {
    throw new CodedError('source_failed', 'the source broke off', { cause })
  }
}
