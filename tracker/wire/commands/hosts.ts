/** Hosts and devices. */
import { CodedError } from '../../../common/errors.ts'
import {
  changeDevice,
  changeHost,
  createDevice,
  createHost,
  deleteHost,
  listHosts,
  type HostArgs,
} from '../../commands/hosts.ts'
import type { HostRow } from '../../store/hosts.ts'
import { utf8ToWire, type Pair } from '../codec.ts'
import type { Args, Handler, Handlers } from './args.ts'

/** Longest names and masks, in characters. */
const maxHost = 40
const maxMask = 49

/** What was sent of a host. An empty status counts as not sent; what else is empty is cleared. */
const hostArgs = (args: Args): HostArgs => ({
  name: args.name('host', maxHost),
  ...(args.has('ip') ? { ip: args.text('ip') } : {}),
  ...(args.has('port') ? { port: args.number('port') } : {}),
  ...(args.has('getport') ? { getPort: args.number('getport') || null } : {}),
  ...(args.has('altip') ? { altip: args.text('altip') || null } : {}),
  ...(args.has('altmask') ? { altmask: args.kept('altmask', maxMask) || null } : {}),
  ...(args.text('status') === '' ? {} : { status: args.text('status') }),
})

const megabytes = (bytes: number | null): number | '' =>
  bytes === null ? '' : Math.trunc(bytes / 1024 / 1024)

/** Without a number all are asked for, with one that alone; what is no number is nobody's. */
const isWanted = (args: Args, name: 'hostid' | 'devid', id: number): boolean =>
  args.text(name) === '' || args.number(name) === id

const hostPairs = ({ id, name }: HostRow): Pair[] => [
  ['hostid', id],
  ['hostname', utf8ToWire(name)],
]

/** The device that a command is about. Throws bad_params when it names none. */
const deviceArgs = (args: Args): { devid: number; host: string } => {
  const found = { devid: args.number('device'), host: args.name('host', maxHost) }
  if (found.devid === 0 || found.host === '') {
    throw new CodedError('bad_params', 'host and device are required')
  }
  return found
}

const updateHost: Handler = async (ctx, args, caller) =>
  hostPairs(await changeHost(ctx, hostArgs(args), caller))

export const hostCommands: Handlers = {
  get_hosts(ctx, args) {
    const hosts = listHosts(ctx).filter(({ id }) => isWanted(args, 'hostid', id))
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
    const devices = ctx.cluster.devices().filter(({ devid }) => isWanted(args, 'devid', devid))
    return [
      ['devices', devices.length],
      ...devices.flatMap((device, i): Pair[] => {
        const { totalBytes, usedBytes, observed, utilization } = device
        const [total, used] = [megabytes(totalBytes), megabytes(usedBytes)]
        const rejects = ctx.cluster.observation(device.devid)?.rejectsBadMd5
        return [
          [`dev${i + 1}_devid`, device.devid],
          [`dev${i + 1}_hostid`, device.host.id],
          [`dev${i + 1}_status`, device.status],
          [`dev${i + 1}_weight`, device.weight],
          [`dev${i + 1}_mb_total`, total],
          [`dev${i + 1}_mb_used`, used],
          [`dev${i + 1}_mb_free`, total === '' || used === '' ? '' : total - used],
          [`dev${i + 1}_mb_asof`, ''],
          [`dev${i + 1}_observed_state`, observed === 'unknown' ? '' : observed],
          [`dev${i + 1}_utilization`, utilization ?? ''],
          [`dev${i + 1}_reject_bad_md5`, rejects === undefined ? '' : Number(rejects)],
        ]
      }),
    ]
  },

  async create_host(ctx, args, caller) {
    if (args.flag('update')) return updateHost(ctx, args, caller)
    return hostPairs(await createHost(ctx, hostArgs(args), caller))
  },

  update_host: updateHost,

  async delete_host(ctx, args, caller) {
    await deleteHost(ctx, args.text('host'), caller)
    return []
  },

  async create_device(ctx, args, caller) {
    const device = {
      devid: args.digits('devid') ?? 0,
      ...(args.flag('state') ? { status: args.text('state') } : {}),
    }
    const hostId = args.digits('hostid')
    const host = hostId ? { hostId } : { host: args.text('hostname') }
    await createDevice(ctx, { ...device, ...host }, caller)
    return []
  },

  async set_state(ctx, args, caller) {
    const device = deviceArgs(args)
    await changeDevice(ctx, { ...device, status: args.text('state') }, caller)
    return []
  },

  async set_weight(ctx, args, caller) {
    const device = deviceArgs(args)
    await changeDevice(ctx, { ...device, weight: args.integer('weight') }, caller)
    return []
  },
}
