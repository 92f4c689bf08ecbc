/**
 * Every expected failure of the system: its stable code, its HTTP status and, where MogileFS's protocol
 * defines one, the text that is sent with it on the line protocol. A code that was released never changes
 * its meaning.
 */

interface ErrorSpec {
  readonly status: number
  /** Text on the line protocol; absent: the message of the error is sent. */
  readonly text?: string
}

const table = {
  // Requests that cannot be understood.
  bad_request: { status: 400 },
  bad_params: { status: 400, text: 'Invalid parameters to command; please see documentation' },
  bad_args: { status: 400 },
  bad_path: { status: 400 },
  bad_checksum: { status: 400 },
  bad_metadata: { status: 400 },
  key_too_long: { status: 400 },
  payload_too_large: { status: 413 },
  unsupported_media_type: { status: 415 },
  length_required: { status: 411 },
  request_timeout: { status: 408 },
  uri_too_long: { status: 414 },
  headers_too_large: { status: 431 },
  version_not_supported: { status: 505 },
  expectation_failed: { status: 417 },
  no_reproxy: { status: 421 },
  precondition_failed: { status: 412 },
  range_not_satisfiable: { status: 416 },
  method_not_allowed: { status: 405 },
  not_implemented: { status: 501 },
  not_found: { status: 404 },
  no_parent: { status: 409 },
  unknown_command: { status: 404, text: 'Unknown server command' },
  line_too_long: { status: 400 },

  // Who may do what.
  unauthorized: { status: 401 },
  forbidden: { status: 403 },
  bad_token: { status: 403 },
  token_expired: { status: 403 },
  bad_receipt: { status: 403 },
  source_refused: { status: 403 },
  plugin_aborted: { status: 403 },
  not_regular: { status: 403 },

  // Files and uploads.
  no_domain: { status: 400, text: 'No domain provided' },
  unreg_domain: { status: 404, text: 'Domain name invalid/not found' },
  no_key: { status: 400, text: 'no_key' },
  unknown_key: { status: 404, text: 'unknown_key' },
  invalid_key: { status: 404, text: 'invalid_key' },
  key_exists: { status: 409, text: "Target key name already exists; can't overwrite." },
  unreg_class: { status: 400, text: 'unreg_class' },
  fid_in_use: { status: 409, text: 'fid_in_use' },
  fid_exists: { status: 409, text: 'fid_exists' },
  no_fid: { status: 400, text: 'no_fid' },
  no_devid: { status: 400, text: 'no_devid' },
  no_path: { status: 400, text: 'no_path' },
  bogus_args: { status: 400, text: 'bogus_args' },
  invalid_destdev: { status: 409 },
  invalid_checksum_format: { status: 400, text: 'invalid_checksum_format' },
  size_verify_error: { status: 502 },
  size_mismatch: { status: 400 },
  checksum_mismatch: { status: 400 },
  no_temp_file: { status: 404, text: 'No tempfile or file already closed' },
  no_upload: { status: 404 },
  not_enough_copies: { status: 409 },
  no_devices: { status: 507, text: 'No devices found to store file' },
  no_replica: { status: 503 },
  none_match: { status: 404, text: 'No keys match that pattern and after-value (if any).' },
  after_mismatch: { status: 400, text: 'Pattern does not match the after-value?' },

  // Configuration of the cluster.
  domain_exists: { status: 409, text: 'That domain already exists' },
  domain_not_found: { status: 404, text: 'Domain not found' },
  domain_has_files: { status: 409, text: 'Domain still has files, unable to delete' },
  domain_has_classes: { status: 409, text: 'domain_has_classes' },
  no_class: { status: 400, text: 'No class provided' },
  class_exists: { status: 409, text: 'That class already exists in that domain' },
  class_not_found: { status: 404, text: 'Class not found' },
  class_has_files: { status: 409, text: 'Class still has files, unable to delete' },
  nodel_default_class: { status: 409, text: 'Cannot delete the default class' },
  invalid_mindevcount: { status: 400, text: 'The mindevcount must be at least 1' },
  invalid_replpolicy: { status: 400 },
  invalid_hashtype: { status: 400, text: 'invalid_hashtype' },
  no_host: { status: 400, text: 'No host provided' },
  no_ip: { status: 400, text: 'IP required to create host' },
  no_port: { status: 400, text: 'Port required to create host' },
  host_exists: { status: 409, text: 'That host already exists' },
  host_not_found: { status: 404, text: 'Host not found' },
  host_not_empty: { status: 409, text: 'Unable to delete host; it contains devices still' },
  host_mismatch: {
    status: 400,
    text: "The device specified doesn't belong to the host specified",
  },
  unknown_host: { status: 404, text: 'Host not found' },
  unknown_hostid: { status: 404, text: 'unknown_hostid' },
  unknown_state: { status: 400, text: 'Invalid/unknown state' },
  dup: { status: 409, text: 'Duplicate name/number used.' },
  no_device: { status: 404, text: 'Device not found' },
  invalid_state: { status: 400, text: 'invalid_state' },
  invalid_devid: { status: 400, text: 'invalid_devid' },
  existing_devid: { status: 409, text: 'existing_devid' },
  state_too_high: {
    status: 409,
    text: 'Status cannot go from dead to alive; must use down',
  },
  not_writable: { status: 400, text: 'not_writable' },
  invalid_format: { status: 400 },
  token_exists: { status: 409 },
  token_not_found: { status: 404 },

  // Fsck and rebalance.
  fsck_running: { status: 409 },
  rebal_running: { status: 409 },
  no_set_rebal: { status: 409 },
  bad_rebal_pol: { status: 400 },
  no_rebal_policy: { status: 409, text: 'No rebalance policy available' },
  no_rebal_state: { status: 404, text: 'No available rebalance status' },
  scrub_not_found: { status: 404 },
  not_draining: { status: 404 },
  rebal_not_started: { status: 409, text: 'Rebalance not running' },

  // Storage nodes and their devices.
  no_such_device: { status: 404 },
  device_not_mounted: { status: 503 },
  device_readonly: { status: 503 },
  device_failed: { status: 503 },
  insufficient_storage: { status: 507 },
  source_failed: { status: 502 },
  storage_unreachable: { status: 502 },

  // Outages.
  too_many_requests: { status: 429 },
  overloaded: { status: 503 },
  shutting_down: { status: 503 },
  database_unavailable: { status: 503 },
  tracker_unreachable: { status: 503 },
  db: { status: 503, text: 'Database error' },
  failure: { status: 500, text: 'Operation failed' },
} as const satisfies Record<string, ErrorSpec>

/** All codes. */
export type ErrorCode = keyof typeof table

const specs: ReadonlyMap<string, ErrorSpec> = new Map(Object.entries(table))

/** An expected failure. `message` is for people and safe to show to the caller, `code` is for programs. */
export class CodedError extends Error {
  override readonly name = 'CodedError'
  /** Stable, so programs can act on it. */
  readonly code: ErrorCode
  /** The HTTP status of an answer with this error. */
  readonly statusCode: number

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
    this.statusCode = table[code].status
  }
}

/** True when `err` is a CodedError; with `code`, only when it has that code. */
export function isCoded(err: unknown, code?: ErrorCode): err is CodedError {
  return err instanceof CodedError && (code === undefined || err.code === code)
}

/** True when `code`, which may come from an HTTP answer, is one of our codes. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && specs.has(code)
}

/** The text for a code on the line protocol: the one that MogileFS defines, else `message`. */
export function protocolText(code: ErrorCode, message: string): string {
  return specs.get(code)?.text ?? message
}
