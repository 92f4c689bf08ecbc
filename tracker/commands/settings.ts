/** Cluster-wide settings: those that mean something here, and those that tools of MogileFS keep here. */
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { parseNetmask } from '../cluster/netmask.ts'
import { isNumberSetting } from '../cluster/snapshot.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import { incrementSetting, putSetting, removeSetting } from '../store/settings.ts'

/** Longest name of a setting, in characters. */
const maxName = 50
/** Longest value, in characters. */
const maxValue = 4096

/** What is kept for a value; undefined: nothing, the setting is taken back to its default. */
type Rule = (value: string | undefined) => string | undefined

/** Every setting that was set. What fsck keeps of itself is not listed; what is set for it is. */
export function listSettings({
  cluster,
}: Pick<Context, 'cluster'>): (readonly [name: string, value: string])[] {
  return [...cluster.snapshot.settings].filter(
    ([name]) => name === 'fsck_checksum' || !name.startsWith('fsck_'),
  )
}

/** Version of MogileFS's tables that the views in the database stand for; there it is a setting, too. */
const schemaVersion = '17'

/** Any setting, also one that is not listed. */
export function findSetting(
  { cluster }: Pick<Context, 'cluster'>,
  name: string,
): string | undefined {
  return name === 'schema_version' ? schemaVersion : cluster.snapshot.settings.get(name)
}

/**
 * Sets a setting; no value takes it back to its default where it has one. Throws not_writable for an
 * unknown one, invalid_format for a wrong value.
 */
export async function setSetting(
  ctx: Context,
  { name, value }: { name: string; value: string | undefined },
  caller: Caller,
): Promise<void> {
  const rule = ruleOf(name)
  // eslint-disable-next-line no-control-regex -- these are what a value must not hold
  if (value !== undefined && (value.length > maxValue || /[\0-\x1f\x7f\ufffd]/.test(value))) {
    throw new CodedError('invalid_format', `${name} is at most ${maxValue} characters of one line`)
  }
  const kept = rule(value)
  await writeSetting(ctx, { name, value: kept }, caller)
}

/** Takes a setting back to its default. Throws not_writable for an unknown one. */
export async function unsetSetting(ctx: Context, name: string, caller: Caller): Promise<void> {
  ruleOf(name)
  await writeSetting(ctx, { name, value: undefined }, caller)
}

async function writeSetting(
  ctx: Context,
  { name, value }: { name: string; value: string | undefined },
  caller: Caller,
): Promise<void> {
  await ctx.db.transaction(async tx => {
    if (value === undefined) {
      await removeSetting(tx, name)
      await insertAudit(tx, caller, { action: 'setting.unset', detail: { name } })
    } else {
      await putSetting(tx, name, value)
      // The value of a replica's setting is its password.
      const detail = isSlave(name) ? { name } : { name, value }
      await insertAudit(tx, caller, { action: 'setting.set', detail })
    }
    // Old trackers look at it to notice that their replicas changed.
    if (isSlave(name)) await incrementSetting(tx, 'slave_version')
  })
  await ctx.cluster.refresh()
}

const isSlave = (name: string): boolean => name.startsWith('slave_')

const invalid = (value: string | undefined, wanted: string): CodedError =>
  new CodedError('invalid_format', `${JSON.stringify(value ?? '')} is not ${wanted}`)

const any: Rule = value => value

const anyButEmpty: Rule = value => (value === '0' ? undefined : value || undefined)

const boolean: Rule = value => {
  if (!value || /^(0|f|off|n)/i.test(value)) return '0'
  if (/^(1|t|on|y)/i.test(value)) return '1'
  throw invalid(value, 'a boolean')
}

const digits: Rule = value => {
  if (!value) return '0'
  if (!/^\d+$/.test(value)) throw invalid(value, 'a whole number')
  return value
}

const ownNumber: Rule = value => {
  if (value !== undefined && !/^\d{1,9}$/.test(value)) throw invalid(value, 'a whole number')
  return value
}

const netmasks: Rule = value => {
  const masks = (value ?? '').split(/[\s,]+/).filter(mask => mask !== '')
  if (!masks.every(parseNetmask)) throw invalid(value, 'a list of netmasks')
  return value
}

const checksum: Rule = value => {
  if (value === 'class') return undefined
  if (value === 'off' || value === 'MD5' || value === 'SHA-1') return value
  throw invalid(value, 'off, class, MD5 or SHA-1')
}

const rules: Readonly<Record<string, Rule>> = {
  maintenance: boolean,
  skip_devcount: boolean,
  skip_mkcol: boolean,
  case_sensitive_list_keys: boolean,
  memcache_servers: any,
  memcache_ttl: digits,
  internal_queue_limit: digits,
  network_zones: any,
  fsck_checksum: checksum,
}

function ruleOf(name: string): Rule {
  if (isNumberSetting(name)) return ownNumber
  if (Object.hasOwn(rules, name)) return rules[name]!
  if (name.length <= maxName) {
    if (/^slave_[\w.-]+$/.test(name)) return anyButEmpty
    if (/^queue_[\w.-]+$/.test(name)) return any
    if (/^zone_[\w.-]+$/.test(name)) return netmasks
  }
  throw new CodedError('not_writable', `there is no setting ${JSON.stringify(name)}`)
}
