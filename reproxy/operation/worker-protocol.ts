/** What supervisor and workers say to each other over the channel between their processes. */
import type { ReproxyConfig } from '../config/schema.ts'
import type { StatusTable } from './admin.ts'

export type WorkerRequest =
  | { readonly kind: 'configure'; readonly id: number; readonly config: ReproxyConfig }
  | { readonly kind: 'report'; readonly id: number }
  | { readonly kind: 'close'; readonly id: number }

/** The answer to the request of that id. */
export interface WorkerReply {
  readonly id: number
  /** Why it could not be done. */
  readonly error?: string
  readonly listening?: Readonly<Record<string, string>>
  /** Figures as prom-client gives them as JSON. */
  readonly metrics?: readonly object[]
  readonly status?: readonly StatusTable[]
}
