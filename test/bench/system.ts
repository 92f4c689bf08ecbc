import type { System } from '../helpers/up.ts'

/** What the benchmarks run against. */
export interface Bench {
  /** The whole system with the photo application, each daemon a process; started when first asked for. */
  readonly system: () => Promise<System>
  readonly databaseUrl: string
  /** A directory on the same disk as the system's data. */
  readonly dir: string
  /** Registers what to close when the benchmark is done. */
  readonly atEnd: (close: () => Promise<unknown>) => void
}
