/** How a command can end: the exit statuses, and the one line that says what went wrong. */
import { getSystemErrorMap } from 'node:util'
import { ConfigError } from '../../common/address.ts'
import { isCoded, type ErrorCode } from '../../common/errors.ts'

/** The exit statuses and what they mean. */
export const exitStatuses: readonly (readonly [status: string, meaning: string])[] = [
  ['0', 'success; also when the reader of the output stops early, as head does'],
  ['1', 'failed, or something is wrong; one line on standard error says what'],
  ['2', 'the command line is wrong; nothing was sent'],
  ['3', 'a name does not exist: a key, domain, class, host, device, token …'],
  ['130', 'interrupted; nothing is half done (129: hang-up, 143: terminated)'],
]

/** What every `--help` ends with. */
export const exitStatusHelp = `\nExit status:\n${exitStatuses
  .map(([status, meaning]) => `  ${status.padEnd(5)}${meaning}`)
  .join('\n')}`

/** A command line that cannot be used. Thrown before anything is sent. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A failure that is not the tracker's, and so has no code. */
export class CommandFailure extends Error {
  override readonly name = 'CommandFailure'
}

/** A signal told the program to end. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly status: number

  constructor(signal: keyof typeof signalStatus) {
    super('interrupted')
    this.status = signalStatus[signal]
  }
}

/** The reader of standard output has gone, as `head` does, so there is nothing more to do. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed'
}

/** The command is done as far as it could be. What failed has been printed already. */
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

/** The codes that say that something which was named does not exist: exit status 3. */
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

/** What to try next. Codes are missing where the message says it already, or nothing fits all cases. */
const hints: Partial<Record<ErrorCode, string>> = {
  unknown_key: 'omg ls lists the keys',
  unreg_domain: 'omg domain list shows the domains, omg domain add creates one',
  domain_not_found: 'omg domain list shows the domains',
  unreg_class: 'omg class list shows the classes',
  class_not_found: 'omg class list shows the classes',
  unknown_host: 'omg host list shows the hosts',
  host_not_found: 'omg host list shows the hosts',
  no_device: 'omg device list shows the devices',
  token_not_found: 'omg token list shows the tokens',
  scrub_not_found: 'omg scrub list shows the scrubs',
  not_draining: 'omg drain list shows what is being emptied',
  domain_exists: 'omg domain modify changes it',
  class_exists: 'omg class modify changes it',
  host_exists: 'omg host modify changes it',
  existing_devid: 'omg device next prints an unused number',
  token_exists: 'omg token list shows the tokens',
  dup: 'omg host list shows the addresses of the hosts',
  invalid_state: 'omg device list shows the states of the devices',
  state_too_high: 'omg device mark DEVID down, and then alive',
  nodel_default_class: 'omg class modify changes it',
  invalid_replpolicy: 'for example MultipleHosts(3), MultipleNetworks() or MultipleDevices(2)',
  key_exists: 'omg rm deletes it first',
  domain_has_files: 'omg rm --recursive DOMAIN: deletes them',
  domain_has_classes: 'omg class delete removes them first',
  class_has_files: 'omg ls -l -r shows the class of each file, omg set --class changes it',
  host_not_empty: 'devices are never removed; omg host mark NAME dead retires the host',
  fsck_running: 'omg fsck stop stops it',
  rebal_running: 'omg rebalance stop stops it',
  no_set_rebal: 'omg rebalance stop stops it',
  no_rebal_policy: 'omg rebalance policy from_devices=… sets one',
  bad_rebal_pol: 'for example omg rebalance policy from_devices=1 limit_by=size limit=10g',
  rebal_not_started: 'omg rebalance start starts it',
  not_writable: 'docs/operating.md lists the settings',
  database_unavailable: 'omg doctor checks the trackers and the database',
  no_devices: 'omg status shows which devices take files',
  no_replica: 'omg status shows what is down',
  insufficient_storage: 'omg status shows how full the devices are',
  storage_unreachable: 'omg status shows what is down',
  checksum_mismatch: 'omg debug shows which copies are bad',
  too_many_requests: 'omg token list shows the rate of the token',
  unauthorized: 'give a token with OMG_TOKEN or --token-file',
  forbidden: 'give another token with OMG_TOKEN or --token-file',
  bad_token: 'omg doctor compares the clocks and the names of the nodes',
  token_expired: 'omg doctor compares the clocks',
  tracker_unreachable: 'name the trackers with OMG_TRACKERS or --trackers; omg up starts one here',
}

/** How `err` ends the program: the exit status, and the message unless it has been printed already. */
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

/** True when `err` says that something which was named does not exist. */
export const isAbsent = (err: unknown): boolean => isCoded(err) && absent.has(err.code)
