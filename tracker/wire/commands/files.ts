/** Uploads and files. */
import { CodedError, isCoded } from '../../../common/errors.ts'
import type { Context } from '../../cluster/context.ts'
import { numberSetting } from '../../cluster/snapshot.ts'
import { createClose, createOpen, maxWireKey, parseChecksum } from '../../commands/close.ts'
import {
  choosePaths,
  deleteFile,
  findContent,
  listKeys,
  reclassifyFile,
  renameFile,
} from '../../commands/files.ts'
import { className } from '../../commands/lookup.ts'
import type { Caller } from '../../store/audit.ts'
import type { FileContent } from '../../store/files.ts'
import { rawPath, utf8ToWire, type Pair } from '../codec.ts'
import { domainOf, type Args, type Handlers } from './args.ts'

/** Where the replicas of a fid are, for reading or writing; devices that are gone are left out. */
export const paths = (
  ctx: Context,
  {
    devids,
    fid,
    args,
    caller,
    method,
  }: { devids: number[]; fid: number; args: Args; caller: Caller; method: 'GET' | 'PUT' },
): { devid: number; path: Pair[1] }[] => {
  const life = method === 'PUT' ? 'upload_seconds' : 'get_url_seconds'
  const options = {
    method,
    alternative: args.text('zone') === 'alt',
    reader: caller.address,
    seconds: numberSetting(ctx.cluster.snapshot, life),
  }
  return devids.flatMap(devid => {
    const url = ctx.open
      ? ctx.urls.plain({ devid, fid }, options)
      : ctx.urls.replica({ devid, fid }, options)
    return url === undefined ? [] : { devid, path: rawPath(url) }
  })
}

/**
 * Where the time of a create_open went, under the names of MogileFS. All nodes are asked for their
 * directories at once.
 */
const profile = (
  devids: readonly number[],
  { foundMs, madeMs }: { foundMs: number; madeMs: number },
): Pair[] => {
  const points: [name: string, ms: number][] = [
    ['begin', 0],
    ['wait_monitor', 0],
    ['find_deviceid', foundMs],
    ['vivify_dir_on_all_devs', madeMs],
    ...devids.map((devid): [string, number] => [`vivify_dir_on_dev${devid}`, madeMs]),
  ]
  return [
    ['profpoints', points.length],
    ...points.flatMap(([name, time], i): Pair[] => [
      [`prof_${i + 1}_name`, name],
      [`prof_${i + 1}_time`, (time / 1000).toFixed(3)],
    ]),
  ]
}

export const fileCommands: Handlers = {
  async create_open(ctx, args, caller) {
    const startedAt = performance.now()
    const multiple = args.flag('multi_dest')
    const { fid, devices } = await createOpen(ctx, {
      domain: args.text('domain'),
      key: args.bytes('key'),
      class: args.text('class'),
      fid: args.integer('fid'),
      multiple,
      size: args.number('size'),
    })
    const devids = devices.map(({ devid }) => devid)
    const targets = paths(ctx, { devids, fid, args, caller, method: 'PUT' })
    const [first] = targets
    if (!first) throw new CodedError('no_devices', 'no device takes new files now')
    const foundAt = performance.now()
    await ctx.directories.forReplica(fid, devids)
    const took = { foundMs: foundAt - startedAt, madeMs: performance.now() - foundAt }
    const profiled = args.flag('debug_profile') ? profile(devids, took) : []
    if (!multiple) {
      return [['fid', fid], ['devid', first.devid], ['path', first.path], ...profiled]
    }
    return [
      ['fid', fid],
      ['dev_count', targets.length],
      ...targets.flatMap(({ devid, path }, i): Pair[] => [
        [`devid_${i + 1}`, devid],
        [`path_${i + 1}`, path],
      ]),
      ...profiled,
    ]
  },

  async create_close(ctx, args, caller) {
    const domain = await domainOf(ctx, args)
    for (const name of ['fid', 'devid', 'path'] as const) {
      if (!args.flag(name)) throw new CodedError(`no_${name}`, `no ${name} given`)
    }
    const checksum = args.flag('checksum') ? args.text('checksum') : ''
    await createClose(
      ctx,
      {
        domain,
        key: args.bytes('key'),
        fid: args.number('fid'),
        devid: args.number('devid'),
        path: args.text('path'),
        alternative: args.text('zone') === 'alt',
        size: args.flag('size') ? args.integer('size') : undefined,
        checksum: checksum === '' ? undefined : parseChecksum(checksum),
        verifyChecksum: args.flag('checksumverify'),
      },
      caller,
    )
    return []
  },

  async get_paths(ctx, args, caller) {
    const domain = await domainOf(ctx, args)
    const file = await findContent(ctx, { domain, key: args.bytes('key') })
    const devices = await choosePaths(ctx, file, {
      count: Math.max(2, args.number('pathcount')),
      verify: !args.flag('noverify'),
    })
    const devids = devices.map(({ devid }) => devid)
    const found = paths(ctx, { devids, fid: file.fid, args, caller, method: 'GET' })
    return [['paths', found.length], ...found.map(({ path }, i): Pair => [`path${i + 1}`, path])]
  },

  async file_info(ctx, args) {
    const domain = await domainOf(ctx, args)
    const key = args.bytes('key')
    const file = await findContent(ctx, { domain, key })
    const classes = ctx.cluster.snapshot.domainsById.get(file.domainId)?.classes
    const hashtype = classes?.get(file.classId)?.hashtype ?? 'NONE'
    return [
      ['fid', file.fid],
      ['domain', utf8ToWire(domain)],
      ['class', utf8ToWire(className(ctx, file.domainId, file.classId))],
      ['key', key.toString('latin1')],
      ['length', file.size],
      ['devcount', file.devids.length],
      ...(args.flag('devices') ? [['devids', file.devids.join(',')] as const] : []),
      ...(hashtype === 'NONE' ? [] : [['checksum', checksumText(file) ?? 'MISSING'] as const]),
    ]
  },

  async list_keys(ctx, args) {
    const domain = await domainOf(ctx, args)
    const prefix = args.bytes('prefix')
    const after = args.bytes('after')
    if (after.length > 0 && !after.subarray(0, prefix.length).equals(prefix)) {
      throw new CodedError('after_mismatch', 'after does not begin with the prefix')
    }
    const limit = Math.min(args.number('limit') || 1000, 1000)
    const keys = await listKeys(ctx, { domain, prefix, after, limit })
    if (keys.length === 0) throw new CodedError('none_match', 'no keys match')
    return [
      ['key_count', keys.length],
      ['next_after', keys.at(-1) ?? ''],
      ['key_', keys],
    ]
  },

  async delete(ctx, args, caller) {
    const domain = await domainOf(ctx, args)
    await deleteFile(ctx, { domain, key: args.bytes('key') }, caller)
    return []
  },

  async rename(ctx, args) {
    const domain = await domainOf(ctx, args)
    const to = args.bytes('to_key')
    const from = args.bytes('from_key')
    if (to.length > maxWireKey) {
      // As the original's database does it, once it is asked.
      await findContent(ctx, { domain, key: from })
      throw new CodedError('db', 'the key is too long')
    }
    await renameFile(ctx, { domain, from, to })
    return []
  },

  async updateclass(ctx, args) {
    const domain = await domainOf(ctx, args)
    const key = args.bytes('key')
    try {
      await reclassifyFile(ctx, { domain, key, class: args.text('class') })
    } catch (err) {
      if (!isCoded(err, 'unknown_key')) throw err
      // Only this command calls it so.
      throw new CodedError('invalid_key', err.message, { cause: err })
    }
    return []
  },
}

/** A file's digest with the algorithm it was made by, which may no longer be that of its class. */
export function checksumText({ hashtype, checksum }: FileContent): string | undefined {
  if (!checksum) return undefined
  return `${hashtype === 2 ? 'SHA-1' : 'MD5'}:${checksum.toString('hex')}`
}
