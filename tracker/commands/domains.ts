/** Domains and classes. Every change is audited in its transaction and seen by the next command. */
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { findClass, numberSetting, type Domain } from '../cluster/snapshot.ts'
import { parsePolicy, type KnownPolicies } from '../policy/spec.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import { isUniqueViolation } from '../store/db.ts'
import {
  abandonUploadsOf,
  declassifyUploads,
  hasFiles,
  insertClass,
  insertDomain,
  isHashtype,
  removeClass,
  removeDomain,
  updateClass,
  updateDomain,
  type ClassChange,
  type ClassRow,
} from '../store/domains.ts'
import { requestReview } from '../store/reviews.ts'
import { emptyTrash } from '../store/trash.ts'

/** Every domain, by name. */
export function listDomains({ cluster }: Pick<Context, 'cluster'>): Domain[] {
  return [...cluster.snapshot.domains.values()]
}

/** A domain for configuring it. Throws no_domain or domain_not_found. */
export async function getConfiguredDomain(ctx: Context, name: string): Promise<Domain> {
  if (name === '') throw new CodedError('no_domain', 'no domain given')
  await ctx.cluster.refresh()
  const domain = ctx.cluster.snapshot.domains.get(name)
  if (!domain) throw new CodedError('domain_not_found', `no domain ${JSON.stringify(name)}`)
  return domain
}

/** Creates a domain with its default class. Throws no_domain or domain_exists. */
export async function createDomain(ctx: Context, name: string, caller: Caller): Promise<Domain> {
  if (name === '') throw new CodedError('no_domain', 'no domain given')
  try {
    await ctx.db.transaction(async tx => {
      const domainId = await insertDomain(tx, name)
      await insertAudit(tx, caller, { action: 'domain.create', domainId, detail: { name } })
    })
  } catch (err) {
    if (!isUniqueViolation(err)) throw err
    throw new CodedError('domain_exists', `there is a domain ${JSON.stringify(name)}`, {
      cause: err,
    })
  }
  return getConfiguredDomain(ctx, name)
}

/** Changes a domain. Throws no_domain or domain_not_found. */
export async function changeDomain(
  ctx: Context,
  { name, trashSeconds }: { readonly name: string; readonly trashSeconds: number },
  caller: Caller,
): Promise<Domain> {
  const { id } = await getConfiguredDomain(ctx, name)
  await ctx.db.transaction(async tx => {
    await updateDomain(tx, { id, trashSeconds })
    const detail = { name, trashSeconds }
    await insertAudit(tx, caller, { action: 'domain.change', domainId: id, detail })
  })
  return getConfiguredDomain(ctx, name)
}

/**
 * Removes a domain without files. What its trash holds goes with it, and what is being uploaded;
 * returns how many of each. Throws domain_not_found, domain_has_files or domain_has_classes.
 */
export async function deleteDomain(
  ctx: Context,
  name: string,
  caller: Caller,
): Promise<{ uploads: number; trash: number }> {
  const { id, classes } = await getConfiguredDomain(ctx, name)
  const graceSeconds = numberSetting(ctx.cluster.snapshot, 'delete_grace_seconds')
  const gone = await ctx.db.transaction(async tx => {
    const uploads = await abandonUploadsOf(tx, id, graceSeconds)
    if (await hasFiles(tx, id)) throw new CodedError('domain_has_files', `${name} holds files`)
    if (classes.size > 1) {
      throw new CodedError('domain_has_classes', `${name} has classes beside the default one`)
    }
    const trash = await emptyTrash(tx, id)
    await removeDomain(tx, id)
    await insertAudit(tx, caller, { action: 'domain.delete', domainId: id, detail: { name } })
    return { uploads, trash }
  })
  await ctx.cluster.refresh()
  return gone
}

/** A class as it is asked for; of an existing one, what is absent stays. */
export interface ClassArgs extends Omit<ClassChange, 'hashtype'> {
  readonly domain: string
  readonly name: string
  readonly hashtype?: string
}

/**
 * Creates a class, or changes the default one that nobody has changed yet. Throws no_domain, no_class,
 * invalid_mindevcount, invalid_replpolicy, invalid_hashtype, domain_not_found or class_exists, in this
 * order.
 */
export async function createClass(
  ctx: Context,
  args: ClassArgs,
  caller: Caller,
): Promise<ClassRow> {
  const change = checkClass(args, ctx.cluster.policies)
  const { domain, name } = args
  const configured = await getConfiguredDomain(ctx, domain)
  // The default class is there in any case; to its creator it is not until somebody has.
  if (findClass(configured, name)?.implicit) return changeClass(ctx, args, caller)
  const { id: domainId } = configured
  try {
    await ctx.db.transaction(async tx => {
      await insertClass(tx, { domainId, name, ...change })
      const detail = { name, ...change }
      await insertAudit(tx, caller, { action: 'class.create', domainId, detail })
    })
  } catch (err) {
    if (!isUniqueViolation(err)) throw err
    throw new CodedError('class_exists', `there is a class ${JSON.stringify(name)}`, { cause: err })
  }
  return getClass(ctx, { domain, name })
}

/** Changes a class. Throws what `createClass` does, and class_not_found in place of class_exists. */
export async function changeClass(
  ctx: Context,
  args: ClassArgs,
  caller: Caller,
): Promise<ClassRow> {
  const change = checkClass(args, ctx.cluster.policies)
  const { domain, name } = args
  const { domainId, id } = await getClass(ctx, { domain, name })
  await ctx.db.transaction(async tx => {
    await updateClass(tx, { domainId, id, ...change })
    if (change.mindevcount !== undefined || change.replpolicy !== undefined) {
      await requestReview(tx, { domainId, classId: id })
    }
    const detail = { name, ...change }
    await insertAudit(tx, caller, { action: 'class.change', domainId, detail })
  })
  ctx.wake('review')
  return getClass(ctx, { domain, name })
}

/**
 * Removes a class without files; what is being uploaded to it will be in the default class. Throws
 * no_domain, no_class, nodel_default_class, domain_not_found, class_not_found or class_has_files, in
 * this order.
 */
export async function deleteClass(
  ctx: Context,
  { domain, name }: { readonly domain: string; readonly name: string },
  caller: Caller,
): Promise<void> {
  checkNames({ domain, name })
  if (name === 'default')
    throw new CodedError('nodel_default_class', 'the default class cannot be deleted')
  const { domainId, id } = await getClass(ctx, { domain, name })
  await ctx.db.transaction(async tx => {
    await declassifyUploads(tx, domainId, id)
    if (await hasFiles(tx, domainId, id)) {
      throw new CodedError('class_has_files', `files of ${domain} belong to ${name}`)
    }
    await removeClass(tx, domainId, id)
    await insertAudit(tx, caller, { action: 'class.delete', domainId, detail: { name } })
  })
  await ctx.cluster.refresh()
}

async function getClass(
  ctx: Context,
  { domain, name }: { readonly domain: string; readonly name: string },
): Promise<ClassRow> {
  const row = findClass(await getConfiguredDomain(ctx, domain), name)
  if (!row) throw new CodedError('class_not_found', `no class ${JSON.stringify(name)} in ${domain}`)
  return row
}

function checkNames({ domain, name }: { domain: string; name: string }): void {
  if (domain === '') throw new CodedError('no_domain', 'no domain given')
  if (name === '') throw new CodedError('no_class', 'no class given')
}

const maxCopies = 255

function checkClass(
  { domain, name, hashtype, ...change }: ClassArgs,
  policies: KnownPolicies,
): ClassChange {
  checkNames({ domain, name })
  const { mindevcount, replpolicy } = change
  if (mindevcount !== undefined && !(mindevcount >= 1 && mindevcount <= maxCopies)) {
    throw new CodedError('invalid_mindevcount', `mindevcount is 1 to ${maxCopies}`)
  }
  if (replpolicy !== undefined && !parsePolicy(replpolicy, policies)) {
    throw new CodedError('invalid_replpolicy', `unknown policy ${JSON.stringify(replpolicy)}`)
  }
  if (hashtype === undefined) return change
  if (!isHashtype(hashtype)) {
    throw new CodedError('invalid_hashtype', `unknown algorithm ${JSON.stringify(hashtype)}`)
  }
  return { ...change, hashtype }
}
