/** What most commands begin with: the domain, the class, the device that a name stands for. */
import { CodedError } from '../../common/errors.ts'
import { maxKeyBytes } from '../../common/keys.ts'
import type { Context } from '../cluster/context.ts'
import { findClass, type Domain } from '../cluster/snapshot.ts'
import { fileKey, type FileKey } from '../store/files.ts'
import type { ClassRow } from '../store/domains.ts'
import type { HostRow } from '../store/hosts.ts'

type Cluster = Pick<Context, 'cluster'>

/** The domain of a file command. Throws no_domain or unreg_domain. */
export async function getDomain({ cluster }: Cluster, name: string): Promise<Domain> {
  if (name === '') throw new CodedError('no_domain', 'no domain given')
  const found = cluster.snapshot.domains.get(name)
  if (found) return found
  await cluster.refreshAfterMiss()
  const fresh = cluster.snapshot.domains.get(name)
  if (!fresh) throw new CodedError('unreg_domain', `no domain ${JSON.stringify(name)}`)
  return fresh
}

/** The class that a file is to have; empty is the default one. Throws `code` without such a class. */
export async function getFileClass(
  { cluster }: Cluster,
  { domain, name }: { readonly domain: Domain; readonly name: string },
  code: 'unreg_class' | 'class_not_found',
): Promise<ClassRow> {
  const found = findClass(domain, name)
  if (found) return found
  await cluster.refreshAfterMiss()
  const fresh = cluster.snapshot.domainsById.get(domain.id)
  const row = fresh && findClass(fresh, name)
  if (!row) throw new CodedError(code, `no class ${JSON.stringify(name)} in ${domain.name}`)
  return row
}

/** A key of a domain. Throws no_domain, unreg_domain or no_key, unknown_key when no key is so long. */
export async function getFileKey(
  ctx: Cluster,
  { domain, key }: { domain: string; key: Buffer },
): Promise<FileKey> {
  const { id } = await getDomain(ctx, domain)
  if (key.length === 0) throw new CodedError('no_key', 'no key given')
  if (key.length > maxKeyBytes) throw new CodedError('unknown_key', 'keys are never that long')
  return fileKey(id, key)
}

/** Name of a file's class; a class that was removed meanwhile shows as its number. */
export function className({ cluster }: Cluster, domainId: number, classId: number): string {
  const domain = cluster.snapshot.domainsById.get(domainId)
  return domain?.classes.get(classId)?.name ?? (classId === 0 ? 'default' : String(classId))
}

/** The host called `name`. */
export function findHost({ cluster }: Cluster, name: string): HostRow | undefined {
  return [...cluster.snapshot.hosts.values()].find(host => host.name === name)
}

/** The configuration of a class, for judging copies: that of the default class when it is gone. */
export function getClassOf(
  { cluster }: Cluster,
  { domainId, classId }: { domainId: number; classId: number },
): Pick<ClassRow, 'mindevcount' | 'replpolicy' | 'hashtype'> {
  const domain = cluster.snapshot.domainsById.get(domainId)
  return (
    domain?.classes.get(classId) ??
    domain?.classes.get(0) ?? { mindevcount: 2, replpolicy: null, hashtype: 'NONE' }
  )
}
