/** What workers need of a tracker, on a database whose answers a test makes up. */
import { createLogger } from '../../../common/log.ts'
import type { Context } from '../../../tracker/cluster/context.ts'

export const log = createLogger('test', { level: 'silent', fd: 2 })

/** Says what the statement of a name returns. */
export type Answer = (statement: string, values: readonly unknown[]) => object[]

/** A tracker without hosts and devices, but for what is put in the place of its parts. */
export function trackerOn(answer: Answer, parts: object = {}): Context {
  const db = {
    async query({ name = '', values = [] }: { name?: string; values?: readonly unknown[] }) {
      const rows = answer(name, values)
      return { rows, rowCount: rows.length }
    },
  }
  const snapshot = { readAt: '', settings: new Map(), domainsById: new Map(), devices: new Map() }
  const cluster = {
    snapshot,
    devices: () => [],
    policies: new Map(),
    async refresh() {},
    noteSilence() {},
    outOfReach: () => [],
    patience: (seconds: number) => seconds,
  }
  return { db, cluster, random: Math.random, log, wake() {}, ...parts } as unknown as Context
}

/** So many jobs, as any queue has them. */
export const jobs = (count: number): object[] =>
  Array.from({ length: count }, (_, i) => ({
    fid: i + 1,
    slot: 0,
    devid: 1,
    devids: [],
    lease: '',
  }))
