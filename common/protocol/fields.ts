/** What several schemas of the HTTP API share. */
import Type from 'typebox'

/** An object which takes no property but its own. */
export const closed = { additionalProperties: false } as const

/** The bytes of a pattern's class that are not control characters. */
export const noControls = '[^\\u0000-\\u001f\\u007f]'

/** Name of a domain, class or host. */
export const Name = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: `^${noControls}+$`,
})

export const Empty = Type.Object({}, closed)

/** The shape of every error, fastify's own. */
export const ErrorReply = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String(),
  error: Type.String(),
  message: Type.String(),
})
export type ErrorReply = Type.Static<typeof ErrorReply>
