/** API tokens: 256 random bits, of which only the SHA-256 is stored. */
import { createHash, randomBytes } from 'node:crypto'
import { CodedError } from '../../common/errors.ts'
import type { NewToken } from '../../common/protocol/configuration.ts'
import type { Context } from '../cluster/context.ts'
import { insertAudit, type Caller } from '../store/audit.ts'
import { isUniqueViolation } from '../store/db.ts'
import { insertToken, listTokens as listRows, removeToken, type TokenRow } from '../store/tokens.ts'
import { getDomain } from './lookup.ts'

/** The hash by which a token is known. */
export function hashToken(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

/** The token with this text; asks the database anew when it is not known here. */
export async function findToken({ cluster }: Context, text: string): Promise<TokenRow | undefined> {
  const hash = hashToken(text).toString('hex')
  const found = cluster.snapshot.tokens.get(hash)
  if (found) return found
  await cluster.refreshAfterMiss()
  return cluster.snapshot.tokens.get(hash)
}

/** Every token, without its text. */
export function listTokens(ctx: Context): Promise<TokenRow[]> {
  return listRows(ctx.db)
}

/** Creates a token and returns its text, this once. Throws bad_request, unreg_domain or token_exists. */
export async function createToken(
  ctx: Context,
  { name, scope, domain, rate }: NewToken,
  caller: Caller,
): Promise<{ row: TokenRow; text: string }> {
  if ((scope === 'admin') !== (domain === undefined)) {
    throw new CodedError('bad_request', 'read and write tokens name a domain, admin tokens none')
  }
  const domainId = domain === undefined ? null : (await getDomain(ctx, domain)).id
  const text = randomBytes(32).toString('base64url')
  try {
    const row = await ctx.db.transaction(async tx => {
      const inserted = await insertToken(tx, {
        name,
        scope,
        domainId,
        hash: hashToken(text),
        rate: rate ?? null,
      })
      const detail = { id: inserted.id, name, scope, domain: domain ?? null, rate: rate ?? null }
      await insertAudit(tx, caller, { action: 'token.create', detail })
      return inserted
    })
    await ctx.cluster.refresh()
    return { row, text }
  } catch (err) {
    if (!isUniqueViolation(err)) throw err
    throw new CodedError('token_exists', `there is a token ${JSON.stringify(name)}`, { cause: err })
  }
}

/** Revokes a token: here at once, on other trackers with their next refresh. Throws token_not_found. */
export async function deleteToken(ctx: Context, id: number, caller: Caller): Promise<void> {
  await ctx.db.transaction(async tx => {
    if (!(await removeToken(tx, id))) throw new CodedError('token_not_found', `no token ${id}`)
    await insertAudit(tx, caller, { action: 'token.delete', detail: { id } })
  })
  await ctx.cluster.refresh()
}
