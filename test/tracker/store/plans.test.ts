/**
 * What clients and queues ask all the time finds its rows by their keys, also where the planner has
 * no statistics: those of tables that fill and empty within a minute are never true.
 */
import t from 'tap'
import {
  claimChecks,
  extendChecks,
  listContents,
  removeChecks,
} from '../../../tracker/store/checks.ts'
import type { Db, Statement } from '../../../tracker/store/db.ts'
import { claimDeletions } from '../../../tracker/store/deletions.ts'
import {
  fileKey,
  findContents,
  findFiles,
  moveFiles,
  removeFiles,
} from '../../../tracker/store/files.ts'
import {
  claimReplications,
  deferReplication,
  extendReplication,
  removeReplications,
} from '../../../tracker/store/jobs.ts'
import {
  claimMoves,
  deferMove,
  extendMove,
  recordMoved,
  removeMove,
  type MoveJob,
} from '../../../tracker/store/rebalance.ts'
import {
  correctReplicas,
  listReplicaStates,
  recordReplicas,
} from '../../../tracker/store/replicas.ts'
import { listUnclaimed } from '../../../tracker/store/sweep.ts'
import {
  commitUploads,
  findOpenUploads,
  findUploads,
  insertUploads,
} from '../../../tracker/store/uploads.ts'
import { caller, openStore } from './store.ts'

interface Plan {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Cond'?: string
  readonly Plans?: readonly Plan[]
}

const tables = /^(file|upload|trash|[a-z]+_job)$/

/** Every place of a plan where rows of the large tables are read, with how they are found. */
function readsOf(plan: Plan): string[] {
  const { 'Relation Name': table = '', 'Node Type': node, Plans: below = [] } = plan
  const condition = plan['Index Cond'] ?? below.find(one => one['Index Cond'])?.['Index Cond']
  const own = node.endsWith('Scan') && tables.test(table) ? [`${table} by ${condition}`] : []
  return [...own, ...below.flatMap(readsOf)]
}

const id = { fid: 1, slot: 1 }
const key = fileKey(1, Buffer.from('key'))
const job = { ...id, attempts: 1, lease: 'now', reviewed: false, news: false }
const move: MoveJob = { ...id, devid: 1, devids: [2], attempts: 1, lease: 'now' }
const upload = {
  ...key,
  fid: 1,
  classId: 0,
  size: 1,
  devids: [1],
  durability: 'safe',
  contentType: null,
  metadata: null,
  seconds: 60,
} as const
const later = { seconds: 1, error: 'why' }
const removal = { file: key, graceSeconds: 0, caller }
const commit = {
  upload: id,
  file: key,
  answer: { size: 1, devids: [1], copies: 1 },
  checksum: null,
  replicate: true,
  repeatable: true,
  graceSeconds: 0,
  caller,
}
const made = { ...id, devid: 2, lease: 'now', sha256: null, checksum: null, last: true }

const asked: Readonly<Record<string, (db: Db) => Promise<unknown>>> = {
  'a lookup': db => findContents(db, [key]),
  lookups: db => findContents(db, [key, key]),
  stats: db => findFiles(db, [key, key]),
  opens: db => insertUploads(db, [upload]),
  'uploads that are open': db => findOpenUploads(db, [1]),
  uploads: db => findUploads(db, [id]),
  commits: db => commitUploads(db, [commit]),
  removals: db => removeFiles(db, [removal]),
  renames: db => moveFiles(db, [{ from: key, to: key }]),
  'a claim of replications': db => claimReplications(db, 10, 'now'),
  'what is to be replicated': db => listReplicaStates(db, [id]),
  'a lease of a replication': db => extendReplication(db, { ...job }),
  'copies that were made': db => recordReplicas(db, [made]),
  'a replication that is put off': db => deferReplication(db, job, later),
  'replications that are done': db => removeReplications(db, [job]),
  'a claim of deletions': db => claimDeletions(db, 10),
  'a claim of checks': db => claimChecks(db, 10),
  'leases of checks': db => extendChecks(db, [id]),
  'checks that are done': db => removeChecks(db, [id]),
  'what is checked': db => listContents(db, [1, 2]),
  'what is corrected': db => correctReplicas(db, id, { before: [1], devids: [2] }),
  'bytes without an owner': db => listUnclaimed(db, 1, [1, 2]),
  'a claim of moves': db => claimMoves(db, 10),
  'a lease of a move': db => extendMove(db, { ...move }),
  'a move that was made': db => recordMoved(db, move, { slot: 1, devid: 2, sha256: null }),
  'a move that is put off': db => deferMove(db, move, later),
  'a move that is done': db => removeMove(db, move),
}

t.test('rows are found by their keys', async t => {
  const { db } = await openStore(t)
  for (const [what, ask] of Object.entries(asked)) {
    const statements: Statement[] = []
    await ask({
      query<Row>(statement: Statement) {
        const isDue = statement.name?.includes('.due_') || statement.name?.endsWith('.due')
        if (!isDue) statements.push(statement)
        const rows = isDue ? [{ ...id, devid: 1 } as Row] : []
        return Promise.resolve({ rows, rowCount: rows.length })
      },
    })
    t.ok(statements.length > 0, what)
    for (const { text } of statements) {
      const explain = `explain (generic_plan, format json) ${text}`
      const { rows } = await db.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>({ text: explain })
      const reads = rows.flatMap(row => readsOf(row['QUERY PLAN'][0].Plan))
      const others = reads.filter(read => !/by .*\b(fid|key) = /.test(read))
      t.strictSame(others, [], what)
    }
  }
})
