/**
 * The text of a replication policy, as MogileFS writes it (`lib/MogileFS/ReplicationPolicy.pm`):
 * `Name(arguments)`, white space wherever one likes, and a comma too many at the end of a Union.
 */

export type PolicySpec =
  | {
      readonly kind: 'MultipleHosts' | 'MultipleDevices' | 'MultipleNetworks'
      /** Undefined: what the class asks for. */
      readonly count: number | undefined
    }
  | { readonly kind: 'HostsPerNetwork'; readonly hosts: ReadonlyMap<string, number> }
  | { readonly kind: 'Union'; readonly members: readonly PolicySpec[] }
  | { readonly kind: 'custom'; readonly name: string; readonly args: string }

/** The names of policies that plugins bring. */
export type KnownPolicies = Pick<ReadonlyMap<string, unknown>, 'has'>

/** Unions within Unions, at most. */
const maxDepth = 8

/** Reads a class's policy text; null is `MultipleHosts()`. Undefined when it is not understood. */
export function parsePolicy(
  text: string | null,
  custom: KnownPolicies = new Set(),
): PolicySpec | undefined {
  if (text === null || text === '') return { kind: 'MultipleHosts', count: undefined }
  const found = parseOne(text, custom, maxDepth)
  return found?.rest.trim() === '' ? found.spec : undefined
}

interface Parsed {
  readonly spec: PolicySpec
  /** What follows it. */
  readonly rest: string
}

function parseOne(text: string, custom: KnownPolicies, depth: number): Parsed | undefined {
  const [opening, name = ''] = /^\s*(\w+)\s*\(/.exec(text) ?? []
  if (opening === undefined) return undefined
  const after = text.slice(opening.length)
  if (name === 'Union') return depth > 0 ? parseUnion(after, custom, depth - 1) : undefined
  const [whole, args = ''] = /^([^()]*)\)/.exec(after) ?? []
  if (whole === undefined) return undefined
  const spec = specOf(name, args.trim(), custom)
  return spec && { spec, rest: after.slice(whole.length) }
}

function specOf(name: string, args: string, custom: KnownPolicies): PolicySpec | undefined {
  switch (name) {
    case 'MultipleHosts':
    case 'MultipleDevices':
    case 'MultipleNetworks':
      if (!/^\d{0,9}$/.test(args)) return undefined
      // 0 is no count, as in the original.
      return { kind: name, count: Number(args) || undefined }
    case 'HostsPerNetwork':
      return parseHostsPerNetwork(args)
    default:
      return custom.has(name) ? { kind: 'custom', name, args } : undefined
  }
}

function parseHostsPerNetwork(args: string): PolicySpec | undefined {
  const hosts = new Map<string, number>()
  for (const word of args.replace(/,\s*$/, '').split(',')) {
    const [, zone, count] = /^\s*([\w.-]+)\s*=\s*(\d{1,9})\s*$/.exec(word) ?? []
    if (zone === undefined) return undefined
    hosts.set(zone, Number(count))
  }
  return { kind: 'HostsPerNetwork', hosts }
}

function parseUnion(text: string, custom: KnownPolicies, depth: number): Parsed | undefined {
  const members: PolicySpec[] = []
  for (let rest = text; ;) {
    const end = /^\s*\)/.exec(rest)
    if (end && members.length > 0) {
      return { spec: { kind: 'Union', members }, rest: rest.slice(end[0].length) }
    }
    const member = parseOne(rest, custom, depth)
    if (!member) return undefined
    members.push(member.spec)
    const next = /^\s*(,|(?=\)))/.exec(member.rest)
    if (!next) return undefined
    rest = member.rest.slice(next[0].length)
  }
}
