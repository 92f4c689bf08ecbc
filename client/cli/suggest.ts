/** "Did you mean …?": suggestions for names that do not exist. */
import { CodedError, isCoded, type ErrorCode } from '../../common/errors.ts'
import type { TrackerApi } from '../tracker-api/index.ts'
import { isFolder, lastPart, splitAddress } from './address.ts'
import type { Session } from './session.ts'
import { printable } from './text.ts'

/** The names that could have been meant. */
interface Names {
  /** All existing names of the kind that was not found. */
  readonly names: readonly string[]
  /** Existing names of another kind that may be on the same command line. */
  readonly others?: readonly string[]
  /** The words that may be a misspelt name; absent: all words of the command line. */
  readonly typed?: readonly string[]
}

type Lister = (api: TrackerApi, signal: AbortSignal, words: readonly string[]) => Promise<Names>

const domains: Lister = async (api, signal) => ({
  names: (await api.listDomains({ signal })).map(({ name }) => name),
})

const classes: Lister = async (api, signal) => {
  const all = await api.listDomains({ signal })
  return {
    names: all.flatMap(domain => domain.classes.map(({ name }) => name)),
    others: all.map(({ name }) => name),
  }
}

const hosts: Lister = async (api, signal) => ({
  names: (await api.listHosts({ signal })).map(({ name }) => name),
})

const tokens: Lister = async (api, signal) => ({
  names: (await api.listTokens({ signal })).map(({ name }) => name),
})

/** The names in the folder of the first file that was named. */
const files: Lister = async (api, signal, words) => {
  const [file] = words.flatMap(word => splitAddress(word) ?? [])
  if (!file) return { names: [] }
  const { domain, key } = file
  const prefix = key.slice(0, key.lastIndexOf('/') + 1)
  const found = await api.list(domain, { prefix, delimiter: '/', limit: 1000 }, { signal })
  return { names: found.files.map(one => lastPart(one.key)), typed: [lastPart(key)] }
}

/** How to list, with one request, the names of the kind that an error is about. */
const listers: Partial<Record<ErrorCode, Lister>> = {
  unreg_domain: domains,
  domain_not_found: domains,
  unreg_class: classes,
  class_not_found: classes,
  unknown_host: hosts,
  host_not_found: hosts,
  token_not_found: tokens,
  unknown_key: files,
}

/**
 * Adds a suggestion to an error about a name that does not exist, when an existing name is similar to
 * one of `words`, the words of the command line. Returns any other error as it is. Never rejects.
 */
export async function suggest(
  err: unknown,
  words: readonly string[],
  session: Pick<Session, 'api' | 'signal'>,
): Promise<unknown> {
  const list = isCoded(err) ? listers[err.code] : undefined
  if (!isCoded(err) || !list) return err
  const {
    names,
    others = [],
    // A word may be a name, or an address that begins with the name of a domain.
    typed = words.flatMap(word => [word, splitAddress(word)?.domain ?? '']),
  } = await list(session.api, session.signal, words).catch((): Names => ({ names: [] }))
  const unknown = typed.filter(word => !names.includes(word) && !others.includes(word))
  const name = nearest(unknown, names)
  if (name === undefined) return err
  const message = `${err.message}. Did you mean ${printable(name)}?`
  return new CodedError(err.code, message, { cause: err })
}

/** Adds the suggestion to use `-r` to an unknown_key error about a key that ends with `/`. */
export function suggestRecursive(err: unknown, key: string): unknown {
  if (!isCoded(err, 'unknown_key') || !isFolder(key)) return err
  const message = `${err.message}. Is it a folder? -r takes everything in it`
  return new CodedError(err.code, message, { cause: err })
}

/** Longer words are not compared: nobody typed them, and it would take long. */
const longest = 100

/** The name most similar to one of the words; undefined unless at most a third of its letters differ. */
function nearest(words: readonly string[], names: readonly string[]): string | undefined {
  let found: string | undefined
  let least = Infinity
  for (const word of words) {
    for (const name of names) {
      const most = Math.max(word.length, name.length) / 3
      if (Math.abs(word.length - name.length) > most || word.length > longest) continue
      const edits = editsBetween(word, name)
      if (edits >= least || edits > most) continue
      least = edits
      found = name
    }
  }
  return found
}

/** Levenshtein's distance: letters to insert, drop or replace to turn one text into the other. */
function editsBetween(a: string, b: string): number {
  let before = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const kept = (before[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row.push(Math.min(kept, (before[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1))
    }
    before = row
  }
  return before[b.length] ?? 0
}
