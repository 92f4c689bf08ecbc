/** What several schemas of the HTTP API share. */
import Type from 'typebox'

/** Options of an object schema that allows no properties but its own. */
export const closed = { additionalProperties: false } as const

/** The part of a pattern that matches one character which is not a control character. */
export const noControls = '[^\\u0000-\\u001f\\u007f]'

/** The name of a domain, class, host or token. */
export const Name = Type.String({
  minLength: 1,
  maxLength: 255,
  pattern: `^${noControls}+$`,
})

/** The number of a device. */
export const Devid = Type.Integer({ minimum: 1, maximum: 2147483647 })

/** Entries of one page of a listing. */
export const PageLimit = Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 }))

/** A key in an answer. */
export const keyFields = {
  key: Type.String({ description: 'the key; with keyBytes present only an approximation' }),
  keyBytes: Type.Optional(
    Type.String({
      description: 'base64url; only for a key that is not UTF-8',
      pattern: '^[A-Za-z0-9_-]*$',
      maxLength: 2048,
    }),
  ),
}

/** A key in a request: one of the two fields. */
export const keyArgument = {
  key: Type.Optional(Type.String({ maxLength: 4096 })),
  keyBytes: keyFields.keyBytes,
}

/** The body of a request that says everything in its path. */
export const Empty = Type.Object({}, closed)

/** The body of every error. The shape is that of fastify. */
export const ErrorReply = Type.Object({
  statusCode: Type.Integer(),
  code: Type.String(),
  error: Type.String(),
  message: Type.String(),
})
export type ErrorReply = Type.Static<typeof ErrorReply>
