/** Many files in one request: the bodies of the batch routes. */
import Type from 'typebox'
import { maxBatchKeys } from '../keys.ts'
import { Located } from './files.ts'

const closed = { additionalProperties: false } as const

const KeyName = Type.Object(
  {
    key: Type.Optional(Type.String({ maxLength: 4096 })),
    keyBytes: Type.Optional(
      Type.String({
        description: 'base64url; for a key that is not UTF-8',
        pattern: '^[A-Za-z0-9_-]*$',
        maxLength: 2048,
      }),
    ),
  },
  closed,
)

export const BatchKeys = Type.Object(
  { keys: Type.Array(KeyName, { minItems: 1, maxItems: maxBatchKeys }) },
  closed,
)
export type BatchKeys = Type.Static<typeof BatchKeys>

const problem = { code: Type.String(), message: Type.String() }

/** What became of each key, in the order of the request: deleted, or why not. */
export const BatchDeleted = Type.Object({
  results: Type.Array(
    Type.Union([Type.Object({ deleted: Type.Literal(true) }), Type.Object(problem)]),
  ),
})
export type BatchDeleted = Type.Static<typeof BatchDeleted>

/** Each key's file with its URLs (none while no replica can be read), in the order of the request. */
export const BatchLocated = Type.Object({
  results: Type.Array(Type.Union([Type.Object({ file: Located }), Type.Object(problem)])),
})
export type BatchLocated = Type.Static<typeof BatchLocated>
