/** Digests of files, and how HTTP writes them (RFC 9530). */
import { CodedError } from '../../common/errors.ts'

/** Names as Node's crypto has them. */
export type Algorithm = 'sha256' | 'md5' | 'sha1'

export type Digests = Partial<Readonly<Record<Algorithm, Buffer>>>

/** RFC 9530 section 7.2: `md5` and `sha` are registered as deprecated, and all that old clients know. */
const names: Readonly<Record<Algorithm, string>> = { sha256: 'sha-256', md5: 'md5', sha1: 'sha' }
const sizes: Readonly<Record<Algorithm, number>> = { sha256: 32, md5: 16, sha1: 20 }
const algorithms = Object.keys(names) as Algorithm[]

/** The algorithms of ours that a Want-Repr-Digest field asks for; weight 0 asks for none. */
export function wantedDigests(field: string | string[] | undefined): Algorithm[] {
  const members = String(field ?? '')
    .toLowerCase()
    .split(',')
    .map(member => /^\s*([a-z0-9-]+)\s*(?:=\s*(\d+))?\s*$/.exec(member))
  const wanted = new Set(members.flatMap(match => (match && match[2] !== '0' ? [match[1]] : [])))
  return algorithms.filter(algorithm => wanted.has(names[algorithm]))
}

/** The value of a Repr-Digest field. */
export function formatDigests(digests: Digests): string {
  return algorithms
    .flatMap(algorithm => {
      const digest = digests[algorithm]
      return digest ? [`${names[algorithm]}=:${digest.toString('base64')}:`] : []
    })
    .join(', ')
}

/** Reads a Repr-Digest field; members of other algorithms are ignored. Throws bad_checksum. */
export function parseDigests(field: string | string[] | undefined): Digests {
  const digests: Partial<Record<Algorithm, Buffer>> = {}
  if (field === undefined) return digests
  for (const member of String(field).split(',')) {
    const match = /^\s*([a-z0-9-]+)=:([A-Za-z0-9+/]*={0,2}):\s*$/.exec(member)
    if (!match) throw badChecksum()
    const algorithm = algorithms.find(name => names[name] === match[1])
    if (!algorithm) continue
    const digest = Buffer.from(match[2] ?? '', 'base64')
    if (digest.length !== sizes[algorithm]) throw badChecksum()
    digests[algorithm] = digest
  }
  return digests
}

/** Content-MD5 (RFC 1864), padding optional. Throws bad_checksum. */
export function parseMd5(header: string | string[] | undefined): Buffer | undefined {
  if (header === undefined) return undefined
  if (typeof header !== 'string' || !/^[A-Za-z0-9+/]{22}(==)?$/.test(header)) {
    throw new CodedError('bad_checksum', 'Content-MD5 is not base64 of 16 bytes')
  }
  return Buffer.from(header, 'base64')
}

/** True when none of the digests that both have differs. */
export function agree(found: Digests, expected: Digests): boolean {
  return algorithms.every(algorithm => {
    const [a, b] = [found[algorithm], expected[algorithm]]
    return !a || !b || a.equals(b)
  })
}

const badChecksum = (): CodedError =>
  new CodedError('bad_checksum', 'a digest is written as sha-256=:BASE64:')
