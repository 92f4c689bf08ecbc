import type { Db } from './db.ts'

/** Who asks for something: for the audit trail and the log. */
export interface Caller {
  /** Name of the token, or of the protocol where nobody proves who he is. */
  readonly actor: string
  readonly address: string
  readonly requestId?: string
}

export interface AuditEntry {
  readonly action: string
  readonly domainId?: number
  readonly detail?: Readonly<Record<string, unknown>>
}

/** Writes who did what; belongs into the transaction that does it. */
export async function insertAudit(db: Db, caller: Caller, entry: AuditEntry): Promise<void> {
  await db.query({
    name: 'audit.insert',
    text: `
      insert into audit (actor, address, request_id, action, domain_id, detail)
      values ($1, $2, $3, $4, $5, $6)`,
    values: [
      caller.actor,
      caller.address,
      caller.requestId ?? null,
      entry.action,
      entry.domainId ?? null,
      entry.detail ?? null,
    ],
  })
}
