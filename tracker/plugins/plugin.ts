/**
 * What a plugin of the tracker is: a module that exports `plugin`. It sees requests of the line
 * protocol before and after they are done, has a say in the choice of devices, and may add commands.
 * The hooks have the names that they have in MogileFS. It runs inside the tracker and is trusted.
 */
import type { Device } from '../policy/device.ts'
import type { CustomPolicy } from '../policy/verdict.ts'

export type { CustomPolicy, PolicyState, Verdict as PolicyVerdict } from '../policy/verdict.ts'

/** A device with the addresses of its host. */
export interface PluginDevice extends Omit<Device, 'host'> {
  readonly host: Device['host'] & { readonly ip: string; readonly altip: string | null }
}

/** The arguments of a request. Text is UTF-8; keys may be any bytes. */
export interface PluginArgs {
  has(name: string): boolean
  /** Undefined when it was not sent. */
  get(name: string): string | undefined
  bytes(name: string): Buffer | undefined
  set(name: string, value: string | Uint8Array): void
  delete(name: string): void
}

export interface PluginRequest {
  /** The command's word, in lower case. */
  readonly command: string
  /** The client's. */
  readonly address: string
  /** With the domain's number as `dmid`. Changes count where the hook's description says so. */
  readonly args: PluginArgs
}

/** `false` stops what the hook was asked about; nothing or `true` lets it go on. */
export type Verdict = boolean | void | Promise<boolean | void>

/** The devices in the wanted order; nothing leaves the order to the tracker. */
export type Order = readonly PluginDevice[] | void | Promise<readonly PluginDevice[] | void>

/** Where a copy is read from. A hook may change all but the first two. */
export interface CopySource {
  readonly fid: number
  readonly devid: number
  ip: string
  port: number
  /** Begins with `/`; with the signature behind it where there is one. */
  path: string
  /** The Host field; that of `ip` and `port` unless set. */
  host?: string
}

/** All of them are optional. One that throws ends its request with `failure`, unless it says otherwise. */
export interface Hooks {
  /** Before create_open: may change arguments; an Error thrown answers `plugin_aborted` with its message. */
  cmd_create_open?(request: PluginRequest): void | Promise<void>
  /** Which of all devices to offer for a new file, best first; further hosts are still preferred. */
  cmd_create_open_order_devices?(devices: readonly PluginDevice[], request: PluginRequest): Order
  /** Before create_close: may change arguments. */
  cmd_create_close?(request: PluginRequest): void | Promise<void>
  /** After create_close has stored a file. `false` deletes it again and answers `plugin_aborted`. */
  file_stored?(request: PluginRequest): Verdict
  /** Before the command: may change arguments. `false` answers `plugin_aborted`; so do the next four. */
  cmd_updateclass?(request: PluginRequest): Verdict
  cmd_delete?(request: PluginRequest): Verdict
  cmd_file_info?(request: PluginRequest): Verdict
  /** Only where the file is named by its key. */
  cmd_file_debug?(request: PluginRequest): Verdict
  cmd_get_paths?(request: PluginRequest): Verdict
  /** Which of a file's devices to name, best first; those being drained still come last. */
  cmd_get_paths_order_devices?(devices: readonly PluginDevice[], request: PluginRequest): Order
  /** Which of the readable devices to copy from, best first. */
  replicate_order_final_choices?(
    devices: readonly PluginDevice[],
    file: { readonly fid: number },
  ): Order
  /** Before a copy is read: may change `source`. */
  replicate_alternate_source?(source: CopySource): void | Promise<void>
}

/** A request of a plugin's own command. */
export interface PluginCall extends Omit<PluginRequest, 'command'> {
  /** Empty when none was sent; nobody has checked that there is one. */
  readonly domain: string
  /** `arg1` to `argN`, as many as `argcount` says. */
  readonly values: readonly string[]
}

/** What a plugin's command answers: names of `a-z`, `A-Z`, `0-9` and `_` that begin with no digit or capital. */
export type PluginReply = Readonly<Record<string, string | number>>

/** Throws an Error to answer `failure`. */
export type PluginCommand = (call: PluginCall) => PluginReply | Promise<PluginReply>

export interface TrackerPlugin {
  /** For messages. */
  readonly name: string
  readonly hooks?: Hooks
  /** By name in lower case: `x` is asked for as `plugin_x`. */
  readonly commands?: Readonly<Record<string, PluginCommand>>
  /** Replication policies by the names that classes call them by, `Name(arguments)`. */
  readonly policies?: Readonly<Record<string, CustomPolicy>>
}
