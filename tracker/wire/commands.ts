/** The words of the line protocol, mapped onto the tracker's commands. */
import { setTimeout as sleep } from 'node:timers/promises'
import { CodedError, isCoded } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { numberSetting } from '../cluster/snapshot.ts'
import type { Caller } from '../store/audit.ts'
import type { FileRow } from '../store/files.ts'
import { createClose, createOpen, parseChecksum } from '../commands/close.ts'
import { listDomains } from '../commands/domains.ts'
import {
  choosePaths,
  deleteFile,
  listFiles,
  locateFile,
  renameFile,
  statFile,
} from '../commands/files.ts'
import { listHosts } from '../commands/hosts.ts'
import { className, getDomain } from '../commands/lookup.ts'
import { formatOk, rawPath, utf8ToWire, wireToUtf8, type Pair } from './codec.ts'
import type { WireRequest } from './server.ts'

/** Longest key in bytes that clients of the protocol expect to work. */
const maxKeyBytes = 255
/** Longest time that `sleep` sleeps, in seconds. */
const maxSleepSeconds = 30

/** The arguments of a request, read as the protocol reads them. */
class Args {
  readonly #values: ReadonlyMap<string, string>

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values
  }

  text(name: string): string {
    return wireToUtf8(this.#values.get(name) ?? '')
  }

  bytes(name: string): Buffer {
    return Buffer.from(this.#values.get(name) ?? '', 'latin1')
  }

  /** Throws db on a key that is too long, as the original's database does. */
  key(name: string): Buffer {
    const key = this.bytes(name)
    if (key.length > maxKeyBytes) throw new CodedError('db', 'the key is too long')
    return key
  }

  /** Every text but the empty one and `0` is true. */
  flag(name: string): boolean {
    const value = this.#values.get(name) ?? ''
    return value !== '' && value !== '0'
  }

  /** Leading digits; anything else counts as 0. */
  number(name: string): number {
    return Number(/^\s*(\d+)/.exec(this.#values.get(name) ?? '')?.[1] ?? 0)
  }
}

/** The domain of a file command, checked before all else. Throws no_domain or unreg_domain. */
async function domainOf(ctx: Context, args: Args): Promise<string> {
  const domain = args.text('domain')
  await getDomain(ctx, domain)
  return domain
}

type Handler = (ctx: Context, args: Args, caller: Caller) => Promise<Pair[]> | Pair[]

const paths = (
  ctx: Context,
  {
    devids,
    fid,
    args,
    method,
  }: { devids: number[]; fid: number; args: Args; method: 'GET' | 'PUT' },
): { devid: number; path: Pair[1] }[] => {
  const alternative = args.text('zone') === 'alt'
  const life = method === 'PUT' ? 'upload_seconds' : 'get_url_seconds'
  const seconds = numberSetting(ctx.cluster.snapshot, life)
  return devids.flatMap(devid => {
    const url = ctx.open
      ? ctx.urls.plain({ devid, fid }, { method, alternative })
      : ctx.urls.replica({ devid, fid }, { method, alternative, seconds })
    return url === undefined ? [] : { devid, path: rawPath(url) }
  })
}

const handlers: Readonly<Record<string, Handler>> = {
  noop: () => [],

  async sleep(_ctx, args) {
    const seconds = args.flag('duration') ? args.number('duration') : 10
    // Its connection keeps the process alive, and nothing else.
    await sleep(Math.min(seconds, maxSleepSeconds) * 1000, undefined, { ref: false })
    return []
  },

  async create_open(ctx, args) {
    const multiple = args.flag('multi_dest')
    const { fid, devices } = await createOpen(ctx, {
      domain: args.text('domain'),
      key: args.bytes('key'),
      class: args.text('class'),
      fid: args.number('fid'),
      multiple,
      size: args.number('size'),
    })
    const devids = devices.map(({ devid }) => devid)
    const targets = paths(ctx, { devids, fid, args, method: 'PUT' })
    const [first] = targets
    if (!first) throw new CodedError('no_devices', 'no device takes new files now')
    if (!multiple) {
      return [
        ['fid', fid],
        ['devid', first.devid],
        ['path', first.path],
      ]
    }
    return [
      ['fid', fid],
      ['dev_count', targets.length],
      ...targets.flatMap(({ devid, path }, i): Pair[] => [
        [`devid_${i + 1}`, devid],
        [`path_${i + 1}`, path],
      ]),
    ]
  },

  async create_close(ctx, args, caller) {
    const domain = await domainOf(ctx, args)
    const fid = args.number('fid')
    if (!(fid > 0 && Number.isSafeInteger(fid))) throw new CodedError('no_fid', 'no fid given')
    for (const name of ['devid', 'path'] as const) {
      if (!args.flag(name)) throw new CodedError(`no_${name}`, `no ${name} given`)
    }
    const checksum = args.text('checksum')
    await createClose(
      ctx,
      {
        domain,
        key: args.bytes('key'),
        fid,
        devid: args.number('devid'),
        path: args.text('path'),
        alternative: args.text('zone') === 'alt',
        size: args.number('size'),
        checksum: checksum === '' ? undefined : parseChecksum(checksum),
        verifyChecksum: args.flag('checksumverify'),
      },
      caller,
    )
    return []
  },

  async get_paths(ctx, args) {
    const domain = await domainOf(ctx, args)
    const located = await locateFile(ctx, { domain, key: args.key('key') })
    const devices = await choosePaths(ctx, located, {
      count: Math.max(2, args.number('pathcount')),
      verify: !args.flag('noverify'),
    })
    const devids = devices.map(({ devid }) => devid)
    const found = paths(ctx, { devids, fid: located.file.fid, args, method: 'GET' })
    return [['paths', found.length], ...found.map(({ path }, i): Pair => [`path${i + 1}`, path])]
  },

  async file_info(ctx, args) {
    const domain = await domainOf(ctx, args)
    const file = await statFile(ctx, { domain, key: args.key('key') })
    const classes = ctx.cluster.snapshot.domainsById.get(file.domainId)?.classes
    const hashtype = classes?.get(file.classId)?.hashtype ?? 'NONE'
    return [
      ['fid', file.fid],
      ['domain', utf8ToWire(domain)],
      ['class', utf8ToWire(className(ctx, file.domainId, file.classId))],
      ['key', file.key.toString('latin1')],
      ['length', file.size],
      ['devcount', file.devids.length],
      ...(args.flag('devices') ? [['devids', file.devids.join(',')] as const] : []),
      ...(hashtype === 'NONE' ? [] : [['checksum', checksumText(file)] as const]),
    ]
  },

  async list_keys(ctx, args) {
    const domain = await domainOf(ctx, args)
    const prefix = args.key('prefix')
    const after = args.key('after')
    if (after.length > 0 && !after.subarray(0, prefix.length).equals(prefix)) {
      throw new CodedError('after_mismatch', 'after does not begin with the prefix')
    }
    const limit = Math.min(args.number('limit') || 1000, 1000)
    const { files } = await listFiles(ctx, { domain, prefix, after, limit })
    const last = files.at(-1)
    if (!last) throw new CodedError('none_match', 'no keys match')
    return [
      ['key_count', files.length],
      ['next_after', last.key.toString('latin1')],
      ...files.map(({ key }, i): Pair => [`key_${i + 1}`, key.toString('latin1')]),
    ]
  },

  async delete(ctx, args, caller) {
    const domain = await domainOf(ctx, args)
    await deleteFile(ctx, { domain, key: args.key('key') }, caller)
    return []
  },

  async rename(ctx, args) {
    const domain = await domainOf(ctx, args)
    await renameFile(ctx, {
      domain,
      from: args.key('from_key'),
      to: args.key('to_key'),
    })
    return []
  },

  get_domains(ctx) {
    const domains = listDomains(ctx)
    return [
      ['domains', domains.length],
      ...domains.flatMap(({ name, classes }, i): Pair[] => {
        const domain = `domain${i + 1}`
        return [
          [domain, utf8ToWire(name)],
          [`${domain}classes`, classes.size],
          ...[...classes.values()].flatMap((row, j): Pair[] => [
            [`${domain}class${j + 1}name`, utf8ToWire(row.name)],
            [`${domain}class${j + 1}mindevcount`, row.mindevcount],
            [`${domain}class${j + 1}replpolicy`, row.replpolicy || 'MultipleHosts()'],
            [`${domain}class${j + 1}hashtype`, row.hashtype],
          ]),
        ]
      }),
    ]
  },

  get_hosts(ctx, args) {
    const wanted = args.number('hostid')
    const hosts = listHosts(ctx).filter(({ id }) => wanted === 0 || id === wanted)
    return [
      ['hosts', hosts.length],
      ...hosts.flatMap((host, i): Pair[] => [
        [`host${i + 1}_hostid`, host.id],
        [`host${i + 1}_status`, host.status],
        [`host${i + 1}_hostname`, utf8ToWire(host.name)],
        [`host${i + 1}_hostip`, host.ip],
        [`host${i + 1}_http_port`, host.port],
        [`host${i + 1}_http_get_port`, host.getPort ?? ''],
        [`host${i + 1}_altip`, host.altip ?? ''],
        [`host${i + 1}_altmask`, host.altmask ?? ''],
      ]),
    ]
  },

  get_devices(ctx, args) {
    const wanted = args.number('devid')
    const devices = ctx.cluster.devices().filter(({ devid }) => wanted === 0 || devid === wanted)
    const mb = (bytes: number | null): number | '' =>
      bytes === null ? '' : Math.trunc(bytes / 1024 / 1024)
    return [
      ['devices', devices.length],
      ...devices.flatMap((device, i): Pair[] => {
        const { totalBytes, usedBytes, observed, utilization } = device
        const free = totalBytes === null || usedBytes === null ? null : totalBytes - usedBytes
        return [
          [`dev${i + 1}_devid`, device.devid],
          [`dev${i + 1}_hostid`, device.host.id],
          [`dev${i + 1}_status`, device.status],
          [`dev${i + 1}_weight`, device.weight],
          [`dev${i + 1}_mb_total`, mb(totalBytes)],
          [`dev${i + 1}_mb_used`, mb(usedBytes)],
          [`dev${i + 1}_mb_free`, mb(free)],
          [`dev${i + 1}_mb_asof`, ''],
          [`dev${i + 1}_observed_state`, observed === 'unknown' ? '' : observed],
          [`dev${i + 1}_utilization`, utilization ?? ''],
          [`dev${i + 1}_reject_bad_md5`, ''],
        ]
      }),
    ]
  },
}

/** A file's digest with the algorithm it was made by, which may no longer be that of its class. */
function checksumText({ hashtype, checksum }: FileRow): string {
  if (!checksum) return 'MISSING'
  return `${hashtype === 2 ? 'SHA-1' : 'MD5'}:${checksum.toString('hex')}`
}

/** Answers requests with whole reply lines. Throws CodedError for the `ERR` ones. */
export function createWireHandler(ctx: Context): (request: WireRequest) => Promise<string> {
  const table = new Map(Object.entries(handlers))
  return async ({ command, args, callid, remoteAddress }) => {
    const handler = table.get(command)
    if (!handler) throw new CodedError('unknown_command', `no command ${command}`)
    const caller = { actor: 'line protocol', address: remoteAddress }
    try {
      return formatOk(await handler(ctx, new Args(args), caller), callid)
    } catch (err) {
      if (!isCoded(err, 'database_unavailable')) throw err
      throw new CodedError('db', err.message, { cause: err })
    }
  }
}
