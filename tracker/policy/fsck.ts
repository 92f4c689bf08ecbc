/** What fsck makes of the digests of a file's replicas (`lib/MogileFS/Worker/Fsck.pm`, `fix_checksums`). */

export type DigestAlgorithm = 'md5' | 'sha1' | 'sha256'

export interface DigestCase {
  /** Of the replicas, by device; lower-case hex. */
  readonly found: ReadonlyMap<number, string>
  readonly algorithm: DigestAlgorithm
  readonly stored: { readonly algorithm: DigestAlgorithm; readonly hex: string } | undefined
  /** A digest that is not stored yet is to be. */
  readonly wanted: boolean
  /** The algorithm is not the class's but was asked for by name. */
  readonly named: boolean
}

export type DigestVerdict =
  | { readonly kind: 'fine' }
  | { readonly kind: 'store'; readonly hex: string }
  /** These are not the file; the others are. */
  | { readonly kind: 'bad'; readonly devids: readonly number[] }
  /** Nobody can say which copy is right. */
  | { readonly kind: 'doubt'; readonly event: 'BSUM' | 'MSUM' }
  /** Stored in another algorithm: there is nothing to compare. */
  | { readonly kind: 'otherAlgorithm' }

/** Judges digests of at least one replica. */
export function judgeDigests(asked: DigestCase): DigestVerdict {
  const { found, algorithm, stored, wanted, named } = asked
  const values = new Set(found.values())
  const [only] = values
  if (only === undefined) return { kind: 'fine' }
  if (values.size === 1) {
    if (!stored) return wanted ? { kind: 'store', hex: only } : { kind: 'fine' }
    if (stored.algorithm !== algorithm) return { kind: 'otherAlgorithm' }
    return stored.hex === only ? { kind: 'fine' } : { kind: 'doubt', event: 'BSUM' }
  }
  if (stored?.algorithm === algorithm && values.has(stored.hex)) {
    const bad = [...found].flatMap(([devid, hex]) => (hex === stored.hex ? [] : [devid]))
    return { kind: 'bad', devids: bad }
  }
  return { kind: 'doubt', event: !stored && named ? 'MSUM' : 'BSUM' }
}
