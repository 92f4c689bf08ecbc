/**
 * The path of a replica on a storage node, as all nodes, clients and proxies of MogileFS expect it:
 * `/dev<devid>/<b>/<mmm>/<ttt>/<nfid>.fid`. The directories are digits 1, 2–4 and 5–7 of the fid, which
 * is padded to at least ten digits (MogileFS-Server, `lib/MogileFS/DevFID.pm`).
 */

/** One copy of the content `fid`. */
export interface Replica {
  readonly devid: number
  readonly fid: number
}

/** The path below the directory of a device, without a leading slash: `0/000/000/0000000123.fid`. */
export function fidPath(fid: number): string {
  const digits = String(fid).padStart(10, '0')
  return `${digits[0]}/${digits.slice(1, 4)}/${digits.slice(4, 7)}/${digits}.fid`
}

/** The URL path of a replica: `/dev5/0/000/000/0000000123.fid`. */
export function replicaPath({ devid, fid }: Replica): string {
  return `/dev${devid}/${fidPath(fid)}`
}

const grammar = /^\/dev([1-9]\d*)\/(\d\/\d{3}\/\d{3}\/(\d{10,})\.fid)$/

/** Reads the URL path of a replica; undefined unless it is exactly as `replicaPath` writes it. */
export function parseReplicaPath(path: string): Replica | undefined {
  const match = grammar.exec(path)
  if (!match) return undefined
  const devid = Number(match[1])
  const fid = Number(match[3])
  if (!Number.isSafeInteger(devid) || !Number.isSafeInteger(fid)) return undefined
  return fidPath(fid) === match[2] ? { devid, fid } : undefined
}
