import type { System } from '../helpers/up.ts'

/** What the benchmarks run against. */
export interface Bench {
  readonly system: System
  readonly databaseUrl: string
  /** A directory on the same disk as the system's data. */
  readonly dir: string
  /** Registers what to close when all is done. */
  readonly atEnd: (close: () => Promise<unknown>) => void
}
