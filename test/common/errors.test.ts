import t from 'tap'
import { isErrorCode, protocolText } from '../../common/errors.ts'

/** What MogileFS says with its codes. */
const texts: Readonly<Record<string, string>> = {
  after_mismatch: 'Pattern does not match the after-value?',
  bad_params: 'Invalid parameters to command; please see documentation',
  class_exists: 'That class already exists in that domain',
  class_has_files: 'Class still has files, unable to delete',
  class_not_found: 'Class not found',
  db: 'Database error',
  domain_exists: 'That domain already exists',
  domain_has_files: 'Domain still has files, unable to delete',
  domain_not_found: 'Domain not found',
  dup: 'Duplicate name/number used.',
  failure: 'Operation failed',
  host_exists: 'That host already exists',
  host_mismatch: "The device specified doesn't belong to the host specified",
  host_not_empty: 'Unable to delete host; it contains devices still',
  host_not_found: 'Host not found',
  invalid_mindevcount: 'The mindevcount must be at least 1',
  key_exists: "Target key name already exists; can't overwrite.",
  no_class: 'No class provided',
  no_device: 'Device not found',
  no_devices: 'No devices found to store file',
  no_domain: 'No domain provided',
  no_host: 'No host provided',
  no_ip: 'IP required to create host',
  no_port: 'Port required to create host',
  no_rebal_policy: 'No rebalance policy available',
  no_rebal_state: 'No available rebalance status',
  no_temp_file: 'No tempfile or file already closed',
  nodel_default_class: 'Cannot delete the default class',
  none_match: 'No keys match that pattern and after-value (if any).',
  rebal_not_started: 'Rebalance not running',
  state_too_high: 'Status cannot go from dead to alive; must use down',
  unknown_command: 'Unknown server command',
  unknown_host: 'Host not found',
  unknown_state: 'Invalid/unknown state',
  unreg_domain: 'Domain name invalid/not found',
}

const withoutText = [
  'no_key',
  'unknown_key',
  'unreg_class',
  'fid_in_use',
  'no_fid',
  'no_devid',
  'no_path',
  'bogus_args',
  'invalid_checksum_format',
  'fid_exists',
  'invalid_key',
  'invalid_state',
  'invalid_devid',
  'unknown_hostid',
  'existing_devid',
  'domain_has_classes',
  'invalid_hashtype',
  'not_writable',
]

const withTheirOwn = [
  'invalid_destdev',
  'size_verify_error',
  'size_mismatch',
  'checksum_mismatch',
  'invalid_replpolicy',
  'invalid_format',
  'bad_rebal_pol',
  'bad_args',
  'plugin_aborted',
  'fsck_running',
  'rebal_running',
  'no_set_rebal',
]

const textOf = (code: string): string =>
  isErrorCode(code) ? protocolText(code, 'made at run time') : `no such code: ${code}`

t.test('on the line protocol every code has the text that MogileFS gives it', async t => {
  for (const [code, text] of Object.entries(texts)) t.equal(textOf(code), text, code)
})

t.test('a code for which MogileFS has no text stands for itself', async t => {
  for (const code of withoutText) t.equal(textOf(code), code)
})

t.test('other codes say what was the matter', async t => {
  for (const code of withTheirOwn) t.equal(textOf(code), 'made at run time', code)
})
