import type { Db } from './db.ts'

/** Who asks for something: for the audit trail and the log. */
export interface Caller {
  /** Name of the token, or of the protocol where nobody proves who he is. */
  readonly actor: string
  /** Number of the token; absent: of the protocol's own. */
  readonly tokenId?: number | undefined
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
      insert into audit (actor, token_id, address, request_id, action, domain_id, detail)
      values ($1, $2, $3, $4, $5, $6, $7)`,
    values: [
      caller.actor,
      caller.tokenId ?? null,
      caller.address,
      caller.requestId ?? null,
      entry.action,
      entry.domainId ?? null,
      entry.detail ?? null,
    ],
  })
}

export interface AuditQuery {
  /** Entries from before this moment (ISO 8601); null: from the newest on. */
  readonly before: string | null
  readonly domainId: number | null
  readonly action: string | null
  /** At least so many, and all others of the last one's moment. */
  readonly limit: number
}

export interface AuditRow {
  /** ISO 8601, to the microsecond. */
  readonly at: string
  readonly actor: string
  readonly tokenId: number | null
  readonly address: string
  readonly action: string
  readonly domainId: number | null
  readonly fid: number | null
  readonly key: Buffer | null
  readonly requestId: string | null
  readonly detail: Readonly<Record<string, unknown>> | null
}

/** What was done, newest first. A moment is never cut in two, so that `before` its time misses nothing. */
export async function listAudit(
  db: Db,
  { before, domainId, action, limit }: AuditQuery,
): Promise<AuditRow[]> {
  const { rows } = await db.query<AuditRow>({
    name: 'audit.list',
    text: `
      select to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, actor, token_id as "tokenId", address,
        action, domain_id as "domainId", fid, key, request_id as "requestId", detail
      from audit
      where ($1::timestamptz is null or audit.at < $1) and ($2::int is null or domain_id = $2)
        and ($3::text is null or action = $3)
      order by audit.at desc fetch first $4 rows with ties`,
    values: [before, domainId, action, limit],
  })
  return rows
}
