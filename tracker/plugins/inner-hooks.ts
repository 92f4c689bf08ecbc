/** The hooks that are asked in the midst of a command or of a worker's job. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { ClusterState } from '../cluster/state.ts'
import type { Device } from '../policy/device.ts'
import type { CopySource, Hooks, Order, PluginDevice, PluginRequest } from './plugin.ts'

/** What commands and workers ask plugins about; undefined: no plugin has a say. */
export interface InnerHooks {
  /** Where a new file goes, best first. */
  orderForWrite(devices: readonly Device[]): Promise<Device[] | undefined>
  /** Which of a file's devices a client is told, best first. */
  orderForRead(devices: readonly Device[]): Promise<Device[] | undefined>
  /** Which device to copy a file from, best first. */
  orderSources(devices: readonly Device[], fid: number): Promise<Device[] | undefined>
  /** The URL to read a copy from instead of `url`, and the Host field to send. */
  copySource(
    replica: { readonly devid: number; readonly fid: number },
    url: string,
  ): Promise<{ url: string; host?: string } | undefined>
  /** Runs `work`; what it asks from here on is about `request`. */
  within<T>(request: PluginRequest, work: () => T): T
}

/** The hooks as they are asked: with what a plugin may know of devices, and with the request. */
export function createInnerHooks(
  hooks: Hooks,
  cluster: Pick<ClusterState, 'snapshot'>,
): InnerHooks {
  // A command does not know that it serves a request, nor should it; the plugin wants to.
  const asked = new AsyncLocalStorage<PluginRequest>()

  const shown = (device: Device): PluginDevice => {
    const row = cluster.snapshot.hosts.get(device.host.id)
    return { ...device, host: { ...device.host, ip: row?.ip ?? '', altip: row?.altip ?? null } }
  }
  /** Ours again, each once, since a plugin may hand back anything. */
  const ordered = async (
    devices: readonly Device[],
    ask: ((shown: PluginDevice[]) => Order) | undefined,
  ): Promise<Device[] | undefined> => {
    const order = await ask?.(devices.map(shown))
    if (!order) return undefined
    const left = new Map(devices.map(device => [device.devid, device]))
    return order.flatMap(({ devid }) => {
      const device = left.get(devid)
      left.delete(devid)
      return device ?? []
    })
  }
  const inRequest = (
    hook: 'cmd_create_open_order_devices' | 'cmd_get_paths_order_devices',
    devices: readonly Device[],
  ): Promise<Device[] | undefined> => {
    const request = asked.getStore()
    return ordered(devices, request && (all => hooks[hook]?.(all, request)))
  }
  return {
    orderForWrite: devices => inRequest('cmd_create_open_order_devices', devices),
    orderForRead: devices => inRequest('cmd_get_paths_order_devices', devices),
    orderSources: (devices, fid) =>
      ordered(devices, all => hooks.replicate_order_final_choices?.(all, { fid })),
    async copySource(replica, url) {
      if (!hooks.replicate_alternate_source) return undefined
      const at = new URL(url)
      const source: CopySource = {
        ...replica,
        ip: at.hostname,
        port: Number(at.port || 80),
        path: at.pathname + at.search,
      }
      await hooks.replicate_alternate_source(source)
      return {
        url: `${at.protocol}//${source.ip}:${source.port}${source.path}`,
        ...(source.host === undefined ? {} : { host: source.host }),
      }
    },
    within: (request, work) => asked.run(request, work),
  }
}
