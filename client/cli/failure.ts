/** How a command can end: the exit statuses, and the one line that says what went wrong. */
import { getSystemErrorMap } from 'node:util'
import { ConfigError } from '../../common/address.ts'
import { isCoded, type ErrorCode } from '../../common/errors.ts'

/** The exit statuses and what they mean. */
export const exitStatuses: readonly (readonly [status: string, meaning: string])[] = [
  ['0', 'done; also when whoever reads the output has had enough'],
  ['1', 'failed, or something is wrong; one line on standard error says what'],
  ['2', 'the command line cannot be used; nothing was sent'],
  ['3', 'what was named does not exist: key, domain, class, host, device, token …'],
  ['130', 'interrupted, nothing is half done (129: hang-up, 143: terminated)'],
]

/** What every `--help` ends with. */
export const exitStatusHelp = `\nExit status:\n${exitStatuses
  .map(([status, meaning]) => `  ${status.padEnd(5)}${meaning}`)
  .join('\n')}`

/** A command line that cannot be used. Thrown before anything is sent. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A failure of this machine's side that has no code. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure'
}

/** The program was told to end. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly status: number

  constructor(signal: keyof typeof signalStatus) {
    super('interrupted')
    this.status = signalStatus[signal]
  }
}

/** The reader of standard output has gone, as `head` does: nothing more needs to be done. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed'
}

/** All was done that could be, and what could not has been told already. */
export class ToldFailure extends Error {
  override readonly name = 'ToldFailure'
  readonly status: number

  constructor(status: number) {
    super('some of it failed')
    this.status = status
  }
}

const signalStatus = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const

/** The signals that interrupt a command. */
export const endSignals = Object.keys(signalStatus) as (keyof typeof signalStatus)[]

const absent: ReadonlySet<ErrorCode> = new Set([
  'unknown_key',
  'unreg_domain',
  'domain_not_found',
  'unreg_class',
  'class_not_found',
  'unknown_host',
  'host_not_found',
  'no_device',
  'token_not_found',
  'scrub_not_found',
])

/** What to try next, for the codes where that is plain. */
const hints: Partial<Record<ErrorCode, string>> = {
  unknown_key: 'omg ls lists the keys',
  unreg_domain: 'omg domain list shows the domains, omg domain add makes one',
  domain_not_found: 'omg domain list shows the domains',
  unreg_class: 'omg class list shows the classes',
  class_not_found: 'omg class list shows the classes',
  unknown_host: 'omg host list shows the hosts',
  host_not_found: 'omg host list shows the hosts',
  no_device: 'omg device list shows the devices',
  token_not_found: 'omg token list shows the tokens',
  scrub_not_found: 'omg scrub list shows them',
  not_draining: 'omg drain list shows which are',
  domain_exists: 'omg domain modify changes it',
  class_exists: 'omg class modify changes it',
  host_exists: 'omg host modify changes it',
  existing_devid: 'omg device next prints a free number',
  token_exists: 'omg token list shows the tokens',
  dup: 'omg host list shows which',
  invalid_state: 'omg device list shows the states',
  state_too_high: 'omg device mark DEVID down',
  nodel_default_class: 'omg class modify changes it',
  invalid_replpolicy: 'for example MultipleHosts(3), MultipleNetworks() or MultipleDevices(2)',
  key_exists: 'omg rm it first',
  domain_has_files: 'omg rm --recursive DOMAIN: deletes them',
  domain_has_classes: 'omg class delete them first',
  class_has_files: 'omg ls -l -r shows which files have it, omg set --class changes it',
  host_not_empty: 'a host stays while any device is its; omg host mark NAME dead retires it',
  fsck_running: 'omg fsck stop ends it',
  rebal_running: 'omg rebalance stop ends it',
  no_rebal_policy: 'omg rebalance policy from_devices=… sets one',
  bad_rebal_pol: 'for example omg rebalance policy from_devices=1 limit_by=size limit=10g',
  rebal_not_started: 'omg rebalance start begins it',
  not_writable: 'docs/operating.md lists the settings',
  database_unavailable: 'omg doctor looks at trackers and database',
  no_devices: 'omg status shows which devices take files',
  no_replica: 'omg status shows what is down',
  insufficient_storage: 'omg status shows how full the devices are',
  storage_unreachable: 'omg status shows what is down',
  unauthorized: 'OMG_TOKEN or --token-file gives the token',
  forbidden: 'OMG_TOKEN or --token-file gives another token',
  tracker_unreachable: 'OMG_TRACKERS or --trackers says where trackers are, omg up starts one',
}

/** How `err` ends the program: its exit status, and what to say unless that has been said. */
export function outcomeOf(err: unknown): { readonly status: number; readonly text?: string } {
  if (err instanceof OutputClosed) return { status: 0 }
  if (err instanceof ToldFailure) return { status: err.status }
  if (err instanceof Interrupted) return { status: err.status, text: err.message }
  if (err instanceof UsageError || err instanceof ConfigError) {
    return { status: 2, text: err.message }
  }
  if (err instanceof CommandFailure) return { status: 1, text: err.message }
  if (isCoded(err)) {
    const hint = hints[err.code]
    const text = `${err.code}: ${err.message}${hint === undefined ? '' : ` (${hint})`}`
    return { status: absent.has(err.code) ? 3 : 1, text }
  }
  const { errno, path, message } = err as NodeJS.ErrnoException
  const system = errno === undefined ? undefined : getSystemErrorMap().get(errno)
  if (system)
    return { status: 1, text: `${path === undefined ? '' : `${path || '""'}: `}${system[1]}` }
  return { status: 1, text: message }
}

/** True when `err` says that what was named does not exist. */
export const isAbsent = (err: unknown): boolean => isCoded(err) && absent.has(err.code)
