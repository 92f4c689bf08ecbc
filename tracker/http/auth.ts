/** Who may ask for what over HTTP: bearer tokens with a scope. */
import type { FastifyRequest } from 'fastify'
import { CodedError } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { findToken } from '../commands/tokens.ts'
import type { Caller } from '../store/audit.ts'
import type { TokenRow } from '../store/tokens.ts'

/** What a route needs. */
export type Access = 'admin' | 'read' | 'write' | 'any'

const tokens = new WeakMap<FastifyRequest, TokenRow>()

/** A hook for a group of routes. Throws unauthorized, too_many_requests or forbidden. */
export function requireAccess(
  ctx: Context,
  access: Access,
): (request: FastifyRequest) => Promise<void> {
  return async request => {
    const text = /^Bearer ([\w~+/.-]{1,512}=*)$/i.exec(request.headers.authorization ?? '')?.[1]
    const token = text && (await findToken(ctx, text))
    if (!token) throw new CodedError('unauthorized', 'a valid bearer token is needed')
    if (!ctx.rates.admit(token)) {
      throw new CodedError('too_many_requests', `this token may ask ${token.rate} times a second`)
    }
    if (!allows(ctx, token, access, request)) {
      throw new CodedError('forbidden', 'this token does not allow that')
    }
    tokens.set(request, token)
  }
}

function allows(ctx: Context, token: TokenRow, access: Access, request: FastifyRequest): boolean {
  if (token.scope === 'admin' || access === 'any') return true
  if (access === 'admin') return false
  const { domain } = request.params as { domain?: string }
  const own =
    token.domainId === null ? undefined : ctx.cluster.snapshot.domainsById.get(token.domainId)
  return own !== undefined && own.name === domain && (access === 'read' || token.scope === 'write')
}

/** Who asks, for the audit trail. */
export function callerOf(request: FastifyRequest): Caller {
  const token = tokens.get(request)
  return {
    actor: token?.name ?? 'unknown',
    tokenId: token?.id,
    address: request.ip,
    requestId: request.id,
  }
}
