/** API tokens; only their SHA-256 is stored. */
import type { TokenScope } from '../../common/protocol/configuration.ts'
import type { Db } from './db.ts'

export interface TokenRow {
  id: number
  name: string
  scope: TokenScope
  domainId: number | null
  hash: Buffer
  /** Requests a second that each tracker takes; null: any number. */
  rate: number | null
  createdAt: Date
}

const columns = `id, name, scope, domain_id as "domainId", hash, rate, created_at as "createdAt"`

export async function listTokens(db: Db): Promise<TokenRow[]> {
  const { rows } = await db.query<TokenRow>({
    name: 'tokens.list',
    text: `
      select ${columns}
      from token order by id`,
  })
  return rows
}

/** Creates a token. Throws a unique violation on its name. */
export async function insertToken(
  db: Db,
  { name, scope, domainId, hash, rate }: Omit<TokenRow, 'id' | 'createdAt'>,
): Promise<TokenRow> {
  const { rows } = await db.query<TokenRow>({
    name: 'tokens.insert',
    text: `
      insert into token (name, scope, domain_id, hash, rate) values ($1, $2, $3, $4, $5)
      returning ${columns}`,
    values: [name, scope, domainId, hash, rate],
  })
  return rows[0]!
}

/** Makes sure that the admin token called `name` is the one with this hash; trackers may do so at once. */
export async function putAdminToken(db: Db, name: string, hash: Buffer): Promise<void> {
  await db.query({
    name: 'tokens.put_admin',
    text: `
      with kept as (
        update token set hash = $2, scope = 'admin', domain_id = null, rate = null where name = $1 returning id
      )
      insert into token (name, scope, hash) select $1, 'admin', $2
      where not exists (select from kept)
      on conflict do nothing`,
    values: [name, hash],
  })
}

/** Removes a token; false when there is none. */
export async function removeToken(db: Db, id: number): Promise<boolean> {
  const { rowCount } = await db.query({
    name: 'tokens.remove',
    text: 'delete from token where id = $1',
    values: [id],
  })
  return rowCount > 0
}
