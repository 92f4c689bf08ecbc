/**
 * What a request to a storage node names. The grammar is narrow on purpose, nothing is decoded and
 * nothing normalised: a path either is one that we would write, or it is refused.
 */
import { CodedError } from '../../common/errors.ts'
import { parseReplicaPath } from '../../common/layout.ts'

/** Something below a device's directory. */
export interface Target {
  readonly devid: number
  /** Relative to the device's directory; empty for that directory itself. */
  readonly path: string
  /** The path ends in a slash, or is the device's directory. */
  readonly directory: boolean
  /** A component begins with a dot, or it is in quarantine: never readable, since such names are ours. */
  readonly hidden: boolean
  /**
   * Number of the stored file, when the path is a replica's. Trackers of ours give out none beyond
   * 2^53 - 1; MogileFS's have 64 bits, and what has such a number is a file like any other here.
   */
  readonly fid: number | undefined
}

/** Where replicas go whose bytes have turned out to be wrong: never served, kept for a person. */
export const quarantine = 'quarantine'

const maxPathBytes = 1024
const maxDevid = 2 ** 31 - 1
const grammar = /^(?:\/[A-Za-z0-9_.-]{1,255})+\/?$/

/** The place of a file whose number has 64 bits and is no safe integer. */
function isHuge(path: string): boolean {
  const [, b, mmm, ttt, digits = ''] = /^(\d)\/(\d{3})\/(\d{3})\/(\d{16,19})\.fid$/.exec(path) ?? []
  return (
    /^[1-9]/.test(digits) && digits.startsWith(`${b}${mmm}${ttt}`) && BigInt(digits) < 2n ** 63n
  )
}

const isHidden = (path: string): boolean =>
  /(^|\/)\./.test(path) || path === quarantine || path.startsWith(`${quarantine}/`)

const badPath = (): CodedError => new CodedError('bad_path', 'not a path of a storage node')

/** Splits a request target at its first `?`; the query of ours is a token and nothing else. */
export function splitTarget(target: string): { path: string; token: string | undefined } {
  const at = target.indexOf('?')
  if (at < 0) return { path: target, token: undefined }
  return { path: target.slice(0, at), token: target.slice(at + 1) }
}

/**
 * Reads a URL path; undefined for `/`. One double slash in front counts as a single one, because
 * MogileFS's `mogadm check` sends it. Throws bad_path, or no_such_device for a device number that
 * cannot be one.
 */
export function parseTarget(path: string): Target | undefined {
  const folded = path.startsWith('//') ? path.slice(1) : path
  if (folded === '/') return undefined
  if (folded.length > maxPathBytes || !grammar.test(folded)) throw badPath()
  if (folded.includes('..') || /\/\.(\/|$)/.test(folded)) throw badPath()
  const [, digits, rest = ''] = /^\/dev(\d+)(?:\/(.*))?$/.exec(folded) ?? []
  if (digits === undefined) throw badPath()
  const devid = Number(digits)
  if (!/^[1-9]/.test(digits) || devid > maxDevid) {
    throw new CodedError('no_such_device', `no device dev${digits} here`)
  }
  const directory = rest === '' || rest.endsWith('/')
  const below = rest.endsWith('/') ? rest.slice(0, -1) : rest
  let fid: number | undefined
  if (below.endsWith('.fid')) {
    fid = parseReplicaPath(folded)?.fid
    if (fid === undefined && !isHuge(below)) throw badPath()
  }
  return { devid, path: below, directory, hidden: isHidden(below), fid }
}
