/**
 * Which header fields may pass the proxy, in either direction. Pure functions over lists of fields;
 * order and repetition are kept, because `Set-Cookie` lines must stay apart.
 */

/** One field line as received: name in its own letter case, value without surrounding blanks. */
export type Field = readonly [name: string, value: string]

/** The pairs of node's flat `rawHeaders`. */
export function fieldsOf(raw: readonly string[]): Field[] {
  const fields: Field[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) fields.push([raw[i] as string, raw[i + 1] as string])
  return fields
}

/** Whether a field of that name is `name` (lower case), without making another text of it. */
export function isNamed(given: string, name: string): boolean {
  if (given.length !== name.length) return false
  for (let i = 0; i < name.length; i++) {
    const code = given.charCodeAt(i)
    const lower = code >= 0x41 && code <= 0x5a ? code + 0x20 : code
    if (lower !== name.charCodeAt(i)) return false
  }
  return true
}

/** The values of every line called `name` (lower case), in order. */
export function valuesOf(fields: readonly Field[], name: string): string[] {
  const values: string[] = []
  for (const [given, value] of fields) {
    if (isNamed(given, name)) values.push(value)
  }
  return values
}

/** The lines called `name` (lower case) as one value (RFC 9110 §5.3); undefined when there is none. */
export function valueOf(fields: readonly Field[], name: string): string | undefined {
  let joined: string | undefined
  for (const [given, value] of fields) {
    if (isNamed(given, name)) joined = joined === undefined ? value : `${joined}, ${value}`
  }
  return joined
}

/** The non-empty members of a comma-separated list. */
export function membersOf(fields: readonly Field[], name: string): string[] {
  const values = valuesOf(fields, name)
  if (values.length === 0 || (values.length === 1 && isToken(values[0] ?? ''))) return values
  return values
    .flatMap(value => value.split(','))
    .map(member => member.trim())
    .filter(member => member !== '')
}

const isToken = (text: string): boolean => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text)

/** The members of a comma-separated list whose letter case means nothing, in lower case. */
export function tokensOf(fields: readonly Field[], name: string): string[] {
  const members = membersOf(fields, name)
  return members.length === 0 ? members : members.map(member => member.toLowerCase())
}

/** Fields of one connection, never of the message (RFC 9110 §7.6.1). */
const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** What the proxy itself says to the application; a client's own word for it is dropped or extended. */
const ours: ReadonlySet<string> = new Set([
  'content-length',
  'expect',
  'host',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
  'x-request-id',
])

/** What only a proxy can know of where a request came from: believed when a trusted one says it. */
const isClaim = (name: string): boolean =>
  name === 'forwarded' || name === 'x-host' || name.startsWith('x-forwarded-')

/** Fields by which an application commands a proxy; neither clients nor nodes may say or see them. */
const isDirective = (name: string): boolean =>
  name.startsWith('x-reproxy-') ||
  name.startsWith('x-accel-') ||
  name.startsWith('x-sendfile') ||
  name === 'x-proxy-capabilities'

/**
 * True for names with "_" that a CGI-like application could not tell from a field we remove or set:
 * both become HTTP_X_FORWARDED_FOR.
 */
const isAlias = (name: string): boolean => {
  if (!name.includes('_')) return false
  const plain = name.replaceAll('_', '-')
  return hopByHop.has(plain) || isDirective(plain) || ours.has(plain) || isClaim(plain)
}

/** What is to be known of a field's name. */
interface Traits {
  readonly lower: string
  /** Of one connection only, a command to a proxy, ours, or what looks like one of these, or a claim, to a CGI-like application. */
  readonly unwanted: boolean
  readonly claim: boolean
  /** In responses: of one connection only, or a command to a proxy. */
  readonly hidden: boolean
}

/** By name as received: there are few, and judging one takes longer than finding it. */
const known = new Map<string, Traits>()
const maxKnown = 500
const maxKnownLength = 64

function traitsOf(name: string): Traits {
  let traits = known.get(name)
  if (traits) return traits
  // A copy: as a part of the head it was read from, it would keep all of that.
  const own = Buffer.from(name, 'latin1').toString('latin1')
  const lower = own.toLowerCase()
  const hidden = hopByHop.has(lower) || isDirective(lower)
  const unwanted = hidden || ours.has(lower) || isAlias(lower)
  traits = { lower, hidden, unwanted, claim: isClaim(lower) }
  if (name.length > maxKnownLength) return traits
  if (known.size >= maxKnown) known.clear()
  known.set(own, traits)
  return traits
}

/** A client's connection. */
export interface Sender {
  /** Address of the peer. */
  readonly peer: string
  /** True when an address is one of a proxy whose word we take. */
  readonly isTrusted: (address: string) => boolean
}

/** Who asks. */
export interface Identity {
  /** The peer is a proxy whose word we take. */
  readonly trusted: boolean
  /** The addresses the request came through; the peer is the last. */
  readonly hops: readonly string[]
  /** The client behind trusted proxies. */
  readonly realIp: string
  readonly requestId: string
}

/** Who asks, by the connection and by what trusted proxies say; `ownId` unless one of these gave a number. */
export function identityOf(
  received: readonly Field[],
  { peer, isTrusted }: Sender,
  ownId: string,
): Identity {
  if (!isTrusted(peer)) return { trusted: false, hops: [peer], realIp: peer, requestId: ownId }
  const kept = withoutNominated(received)
  const hops = [...membersOf(kept, 'x-forwarded-for'), peer]
  const givenId = valueOf(kept, 'x-request-id')
  const requestId = givenId && /^[\x21-\x7e]{1,200}$/.test(givenId) ? givenId : ownId
  return { trusted: true, hops, realIp: clientAddress(hops, isTrusted), requestId }
}

/** Without the fields that the sender's `Connection` keeps to that connection. */
function withoutNominated(received: readonly Field[]): readonly Field[] {
  const nominated = tokensOf(received, 'connection')
  if (nominated.length === 0) return received
  return received.filter(([name]) => !nominated.includes(name.toLowerCase()))
}

export interface ForwardOptions {
  readonly identity: Identity
  readonly proto: 'http' | 'https'
  /** The authority the request was sent to; undefined in HTTP/1.0 without Host. */
  readonly host: string | undefined
  readonly viaName: string
  /** What the application may ask of us. */
  readonly capabilities: string
}

/**
 * The fields that go to the application, except Host and those of framing. Nominations in the
 * client's `Connection` are carried out before our own fields are added, so they cannot remove these.
 */
export function forwardedFields(
  received: readonly Field[],
  { identity, proto: ownProto, host, viaName, capabilities }: ForwardOptions,
): Field[] {
  const { trusted, hops, realIp, requestId } = identity
  const kept = withoutNominated(received)
  const passed = kept.filter(([name]) => {
    const { unwanted, claim } = traitsOf(name)
    return !unwanted && (trusted || !claim)
  })
  const proto = (trusted && valueOf(kept, 'x-forwarded-proto')) || ownProto
  const forwardedHost = (trusted && valueOf(kept, 'x-forwarded-host')) || host
  passed.push(
    ['Via', [...valuesOf(kept, 'via'), `1.1 ${viaName}`].join(', ')],
    ['X-Forwarded-For', hops.join(', ')],
    ['X-Forwarded-Proto', proto],
    ['X-Real-IP', realIp],
    ['X-Request-Id', requestId],
    ['X-Proxy-Capabilities', capabilities],
  )
  if (forwardedHost !== undefined) passed.push(['X-Forwarded-Host', forwardedHost])
  if (tokensOf(received, 'te').includes('trailers')) passed.push(['TE', 'trailers'])
  return passed
}

/** The rightmost hop that is no trusted proxy; what stands left of it is only its claim. */
function clientAddress(hops: readonly string[], isTrusted: (address: string) => boolean): string {
  let nearest = hops.at(-1) as string
  for (const hop of hops.toReversed()) {
    if (!/^[0-9a-f:.]+$/i.test(hop)) break // "unknown" or an obfuscated name: nothing beyond it is known
    nearest = hop
    if (!isTrusted(hop)) break
  }
  return nearest
}

/** True when a request has already been through a proxy of this name (RFC 9110 §7.6.3). */
export function hasPassed(received: readonly Field[], viaName: string): boolean {
  const name = viaName.toLowerCase()
  return tokensOf(received, 'via').some(hop => hop.split(/[ \t]+/)[1] === name)
}

/**
 * The fields of an application's response that the client may see, with ours added. Those of framing
 * are left out: whoever sends the body knows its length.
 */
export function responseFields(
  received: readonly Field[],
  { viaName, requestId }: { readonly viaName: string; readonly requestId: string },
): Field[] {
  const nominated = tokensOf(received, 'connection')
  let dated = false
  const passed = received.filter(([name]) => {
    const { lower, hidden } = traitsOf(name)
    if (hidden || nominated.includes(lower)) return false
    if (lower === 'date') {
      if (dated) return false
      dated = true
    }
    return lower !== 'content-length' && lower !== 'via' && lower !== 'x-request-id'
  })
  const via = nominated.includes('via') ? [] : valuesOf(received, 'via')
  passed.push(['Via', [...via, `1.1 ${viaName}`].join(', ')], ['X-Request-Id', requestId])
  return passed
}

/** `fields` without those called `names` (lower case). */
export function without(fields: readonly Field[], ...names: readonly string[]): Field[] {
  const kept: Field[] = []
  for (const field of fields) {
    if (!names.some(name => isNamed(field[0], name))) kept.push(field)
  }
  return kept
}

/** `fields` reduced to those called `names` (lower case). */
export function only(fields: readonly Field[], names: ReadonlySet<string>): Field[] {
  return fields.filter(([name]) => names.has(name.toLowerCase()))
}
