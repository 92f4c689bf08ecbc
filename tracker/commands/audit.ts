/** Who did what. */
import type { Context } from '../cluster/context.ts'
import { listAudit, type AuditQuery, type AuditRow } from '../store/audit.ts'
import { getConfiguredDomain } from './domains.ts'

/** One page of the audit trail, newest first. Throws domain_not_found. */
export async function auditTrail(
  ctx: Context,
  { domain, ...query }: Omit<AuditQuery, 'domainId'> & { readonly domain?: string | undefined },
): Promise<AuditRow[]> {
  const domainId = domain === undefined ? null : (await getConfiguredDomain(ctx, domain)).id
  return listAudit(ctx.db, { ...query, domainId })
}
