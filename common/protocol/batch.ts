/** Many files in one request: the bodies of the batch routes. */
import Type from 'typebox'
import { maxBatchKeys } from '../keys.ts'
import { closed, keyArgument } from './fields.ts'
import { Located } from './files.ts'

/** The files that a batch is about. */
export const BatchKeys = Type.Object(
  {
    keys: Type.Array(Type.Object(keyArgument, closed), { minItems: 1, maxItems: maxBatchKeys }),
  },
  closed,
)
export type BatchKeys = Type.Static<typeof BatchKeys>

const problem = { code: Type.String(), message: Type.String() }

/** The outcome for each key, in the order of the request: deleted, or why not. */
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
