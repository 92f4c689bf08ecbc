/** What can be asked of files that are there: stat, locate, list, rename, change, delete. */
import { CodedError } from '../../common/errors.ts'
import { maxKeyBytes } from '../../common/keys.ts'
import type { Metadata } from '../../common/protocol/files.ts'
import type { Context } from '../cluster/context.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import { isReadable, type Device } from '../policy/device.ts'
import { orderForRead } from '../policy/placement.ts'
import type { Caller } from '../store/audit.ts'
import { isUniqueViolation } from '../store/db.ts'
import {
  fileKey,
  listFiles as listRows,
  listKeys as listKeyRows,
  updateFile,
  type FileContent,
  type FileRow,
} from '../store/files.ts'
import { checkMetadata } from './metadata.ts'
import { getDomain, getFileClass, getFileKey } from './lookup.ts'

/** How a file command names a file. */
export interface FileRef {
  readonly domain: string
  readonly key: Buffer
}

/** A key's row. Throws no_domain, unreg_domain, no_key or unknown_key. */
export async function statFile(ctx: Context, ref: FileRef): Promise<FileRow> {
  const file = await ctx.names.findFile(await getFileKey(ctx, ref))
  if (!file) throw unknownKey(ref)
  return file
}

/** What readers need of a key's row. Throws what `statFile` does. */
export async function findContent(ctx: Context, ref: FileRef): Promise<FileContent> {
  const content = await ctx.names.findContent(await getFileKey(ctx, ref))
  if (!content) throw unknownKey(ref)
  return content
}

/** The devices that hold a file: readable ones first, best first. */
export function holdersOf(ctx: Context, { devids }: Pick<FileContent, 'devids'>): Device[] {
  const holders = ctx.cluster.devices().filter(({ devid }) => devids.includes(devid))
  return orderForRead(holders, ctx.random)
}

/** Of devices in order of preference, those to read from now; all when there is none. */
export function preferReadable(devices: readonly Device[]): readonly Device[] {
  const readable = devices.filter(isReadable)
  return readable.length > 0 ? readable : devices
}

/**
 * The devices that get_paths names, at most `count`: the first one is asked for the file's length
 * unless `verify` is off. Where no replica can be read now, the last one known is named all the same.
 */
export async function choosePaths(
  ctx: Context,
  file: FileContent,
  { count, verify }: { count: number; verify: boolean },
): Promise<Device[]> {
  const devices = holdersOf(ctx, file)
  const ordered = ctx.hooks && (await ctx.hooks.orderForRead(devices))
  const candidates = ordered ? drainLast(ordered) : devices
  const chosen: Device[] = []
  let verified = !verify
  for (const device of candidates.filter(isReadable)) {
    if (chosen.length >= count) break
    if (!verified && !(await holds(ctx, device.devid, file))) continue
    chosen.push(device)
    // A device that is being emptied does not vouch for the ones behind it.
    verified ||= device.status !== 'drain'
  }
  if (chosen.length > 0) return chosen
  return candidates.filter(device => !isReadable(device)).slice(-1)
}

const drainLast = (devices: readonly Device[]): Device[] => [
  ...devices.filter(({ status }) => status !== 'drain'),
  ...devices.filter(({ status }) => status === 'drain'),
]

async function holds(ctx: Context, devid: number, { fid, size }: FileContent): Promise<boolean> {
  const url = ctx.urls.replica({ devid, fid }, { method: 'GET', seconds: 60 })
  if (!url) return false
  const found = await ctx.storage
    .head(url, { signal: AbortSignal.timeout(2_000) })
    .catch(() => undefined)
  return found?.size === size
}

export interface ListArgs {
  readonly domain: string
  readonly prefix: Buffer
  /** Keys must be greater than this one; empty: from the start. */
  readonly after: Buffer
  /** Keys that go on after the prefix with this text in them are folded up to and with it. */
  readonly delimiter?: Buffer
  readonly limit: number
}

export interface Listing {
  readonly files: FileRow[]
  readonly prefixes: Buffer[]
  /** What goes into `after` for the next page; undefined: this is the last one. */
  readonly next: Buffer | undefined
}

/** One page of a domain's keys in byte order. Throws no_domain or unreg_domain. */
export async function listFiles(ctx: Context, args: ListArgs): Promise<Listing> {
  const { id } = await getDomain(ctx, args.domain)
  const below = successor(args.prefix)
  const { delimiter, limit } = args
  const files: FileRow[] = []
  const prefixes: Buffer[] = []
  let position = startOf(args, below)
  while (position) {
    const wanted = limit + 1 - files.length - prefixes.length
    const rows = await listRows(ctx.db, {
      domainId: id,
      from: position.from,
      exclusive: position.exclusive,
      below,
      limit: wanted,
    })
    let jump: Buffer | undefined
    for (const row of rows) {
      const folded = delimiter && foldedPrefix(row.key, args.prefix, delimiter)
      if (files.length + prefixes.length === limit)
        return { files, prefixes, next: lastOf(files, prefixes) }
      if (folded) {
        prefixes.push(folded)
        jump = folded
        break
      }
      files.push(row)
    }
    if (!jump) break
    const from = successor(jump)
    position = from && { from, exclusive: false }
  }
  return { files, prefixes, next: undefined }
}

/**
 * The keys alone, as byte strings, of what `listFiles` without a delimiter lists. Throws no_domain
 * or unreg_domain.
 */
export async function listKeys(ctx: Context, args: Omit<ListArgs, 'delimiter'>): Promise<string[]> {
  const { id: domainId } = await getDomain(ctx, args.domain)
  const below = successor(args.prefix)
  const position = startOf(args, below)
  if (!position) return []
  return listKeyRows(ctx.db, { domainId, ...position, below, limit: args.limit })
}

interface Position {
  readonly from: Buffer
  readonly exclusive: boolean
}

/** Where a page begins: behind `after`, or behind all keys that a folded `after` stands for. */
function startOf(
  { prefix, after, delimiter }: ListArgs,
  below: Buffer | undefined,
): Position | undefined {
  if (Buffer.compare(after, prefix) < 0) return { from: prefix, exclusive: false }
  if (below && Buffer.compare(after, below) >= 0) return undefined
  const folded = delimiter && foldedPrefix(after, prefix, delimiter)
  if (!folded?.equals(after)) return { from: after, exclusive: after.length > 0 }
  const from = successor(folded)
  return from && { from, exclusive: false }
}

const lastOf = (files: readonly FileRow[], prefixes: readonly Buffer[]): Buffer | undefined =>
  [...files.slice(-1).map(file => file.key), ...prefixes.slice(-1)]
    .sort((a, b) => a.compare(b))
    .at(-1)

function foldedPrefix(key: Buffer, prefix: Buffer, delimiter: Buffer): Buffer | undefined {
  const at = key.indexOf(delimiter, prefix.length)
  return at < 0 ? undefined : key.subarray(0, at + delimiter.length)
}

/** The least byte string greater than all that begin with `prefix`; undefined when there is none. */
function successor(prefix: Buffer): Buffer | undefined {
  let end = prefix.length
  while (end > 0 && prefix[end - 1] === 0xff) end--
  if (end === 0) return undefined
  const next = Buffer.from(prefix.subarray(0, end))
  next[end - 1] = next[end - 1]! + 1
  return next
}

/** Gives a file another key. Throws no_key, unknown_key or key_exists. */
export async function renameFile(
  ctx: Context,
  { domain, from, to }: { domain: string; from: Buffer; to: Buffer },
): Promise<FileRow> {
  const source = await getFileKey(ctx, { domain, key: from })
  if (to.length === 0) throw new CodedError('no_key', 'no new key given')
  if (to.length > maxKeyBytes) throw new CodedError('key_too_long', 'the new key is too long')
  if (from.equals(to)) return statFile(ctx, { domain, key: from })
  const taken = (): CodedError => new CodedError('key_exists', 'the new key is taken')
  const moved = await ctx.names
    .moveFile({ from: source, to: fileKey(source.domainId, to) })
    .catch((err: unknown) => {
      throw isUniqueViolation(err) ? taken() : err
    })
  if (moved) return moved
  throw (await ctx.names.findFile(source)) ? taken() : unknownKey({ domain, key: from })
}

export interface ChangeArgs extends FileRef {
  readonly class?: string
  readonly contentType?: string | null
  readonly metadata?: Metadata
}

/** Changes class, content type or metadata. Throws unknown_key, class_not_found or bad_metadata. */
export async function changeFile(ctx: Context, args: ChangeArgs): Promise<FileRow> {
  const key = await getFileKey(ctx, args)
  checkMetadata(args)
  const domain = await getDomain(ctx, args.domain)
  const classRow =
    args.class === undefined
      ? undefined
      : await getFileClass(ctx, { domain, name: args.class }, 'class_not_found')
  const file = await updateFile(ctx.db, key, {
    ...(classRow ? { classId: classRow.id } : {}),
    ...(args.contentType === undefined ? {} : { contentType: args.contentType }),
    ...(args.metadata === undefined ? {} : { metadata: args.metadata }),
  })
  if (!file) throw unknownKey(args)
  if (classRow) ctx.wake('replicate')
  return file
}

/**
 * Gives a file another class, as the line protocol does it: the class has to be named, and somewhere
 * there has to be a copy. Throws no_key, no_class, class_not_found, unknown_key or no_devices, in
 * this order.
 */
export async function reclassifyFile(
  ctx: Context,
  ref: FileRef & { readonly class: string },
): Promise<void> {
  await getFileKey(ctx, ref)
  if (ref.class === '') throw new CodedError('no_class', 'no class given')
  const domain = await getDomain(ctx, ref.domain)
  const { id } = await getFileClass(ctx, { domain, name: ref.class }, 'class_not_found')
  const { classId, devids } = await statFile(ctx, ref)
  if (devids.length === 0) throw new CodedError('no_devices', 'no device holds the file')
  if (classId !== id) await changeFile(ctx, ref)
}

/**
 * Takes a key away, with `fid` only while it stands for that content; its bytes go after the grace
 * period. Throws no_key or unknown_key.
 */
export async function deleteFile(
  ctx: Context,
  ref: FileRef & { readonly fid?: number },
  caller: Caller,
): Promise<void> {
  const file = await getFileKey(ctx, ref)
  const graceSeconds = numberSetting(ctx.cluster.snapshot, 'delete_grace_seconds')
  const { fid } = ref
  if (!(await ctx.names.removeFile({ file, fid, graceSeconds, caller }))) throw unknownKey(ref)
}

const unknownKey = ({ domain, key }: FileRef): CodedError =>
  new CodedError('unknown_key', `no key ${JSON.stringify(key.toString())} in ${domain}`)
