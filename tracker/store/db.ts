/** The way to Postgres: pools with time-outs on both sides, named statements, transactions. */
import pg from 'pg'
import { CodedError, isCoded } from '../../common/errors.ts'
import { parseNumberArray } from './arrays.ts'

export interface Statement {
  /** `module.verb`; with it the statement is prepared once per connection. Absent: run once. */
  readonly name?: string
  readonly text: string
  readonly values?: readonly unknown[]
}

/** A pool or a transaction's client. Throws database_unavailable when the database cannot be had. */
export interface Db {
  query<Row>(statement: Statement): Promise<{ rows: Row[]; rowCount: number }>
}

export interface DbPool extends Db {
  /** Runs `work` in one transaction; rolls back when it throws. */
  transaction<T>(work: (tx: Db) => Promise<T>): Promise<T>
  close(): Promise<void>
}

export interface DbOptions {
  readonly url: string
  readonly max: number
  /** Commits do not wait for the disk: for rows whose loss only fails an upload. */
  readonly lazy?: boolean
  /** Told of idle connections that break. */
  readonly onError: (err: Error) => void
}

const queryMs = 5_000

const session = {
  timezone: 'UTC',
  // Whatever the database has for others: OK is said of what is on disk, a synchronous standby's as well.
  synchronous_commit: 'on',
  // Tables that fill and empty within a minute are ahead of their statistics, and a plan made when one
  // was empty would read all of it for each statement. Every statement of ours has its index.
  enable_seqscan: 'off',
  // They are short, and what more than one processor could do of them is others' time.
  max_parallel_workers_per_gather: '0',
  // Where no index serves, the price that this puts on a plan is no reason to compile it.
  jit: 'off',
}

// By type oid. Every id and size of ours fits a double exactly; the others are for speed.
const parsers = new Map<number, (text: string) => unknown>([
  [pg.types.builtins.INT8, parseBigint],
  [1007, parseNumberArray], // int4[]
  [pg.types.builtins.TIMESTAMPTZ, parseTime],
])
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    (format !== 'binary' && parsers.get(oid)) ||
    pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
}

function parseBigint(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`bigint out of range: ${text}`)
  return value
}

/** In UTC, as our sessions are, it is what `Date` itself reads; `infinity` and the like are not. */
function parseTime(text: string): unknown {
  return text.endsWith('+00') && text.length > 20 && text[4] === '-'
    ? new Date(`${text.slice(0, 10)}T${text.slice(11, -3)}Z`)
    : pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ, 'text')(text)
}

/** Opens a pool; it connects when first used. */
export function openDb({ url, max, lazy, onError }: DbOptions): DbPool {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    types,
    application_name: 'omgfiles-tracker',
    connectionTimeoutMillis: 2_000,
    // The client's own limit is for a database behind a partition; the server's comes first.
    query_timeout: queryMs + 2_000,
    statement_timeout: queryMs,
    idle_in_transaction_session_timeout: queryMs,
    keepAlive: true,
    options: Object.entries({ ...session, ...(lazy && { synchronous_commit: 'off' }) })
      .map(([name, value]) => `-c ${name}=${value}`)
      .join(' '),
  })
  // A pool counts as closed before its connections are: what becomes of those is no news.
  let closing = false
  pool.on('error', err => {
    if (!closing) onError(err)
  })
  return {
    query: statement => run(pool, statement),
    async transaction(work) {
      const client = await pool.connect().catch((err: unknown) => {
        throw translate(err)
      })
      const tx: Db = { query: statement => run(client, statement) }
      let broken = true
      try {
        await tx.query({ text: 'begin' })
        const result = await work(tx)
        await tx.query({ text: 'commit' })
        broken = false
        return result
      } catch (err) {
        // A statement that got no answer may still be under way: the connection is not to be used again.
        if (!isCoded(err, 'database_unavailable')) {
          broken = await client.query('rollback').then(
            () => false,
            () => true,
          )
        }
        throw err
      } finally {
        client.release(broken)
      }
    },
    close() {
      closing = true
      return pool.end()
    },
  }
}

async function run<Row>(
  target: pg.Pool | pg.PoolClient,
  { name, text, values = [] }: Statement,
): Promise<{ rows: Row[]; rowCount: number }> {
  try {
    const result = await target.query({
      text,
      values: [...values],
      ...(name ? { name } : {}),
    })
    return { rows: result.rows as Row[], rowCount: result.rowCount ?? 0 }
  } catch (err) {
    throw translate(err)
  }
}

/** SQLSTATE of a database error, as documented in PostgreSQL's appendix A. */
export function sqlState(err: unknown): string | undefined {
  return err instanceof pg.DatabaseError ? err.code : undefined
}

/** True when `err` is a unique violation, of that constraint when one is named. */
export function isUniqueViolation(err: unknown, constraint?: string): boolean {
  return (
    err instanceof pg.DatabaseError &&
    err.code === '23505' &&
    (constraint === undefined || err.constraint === constraint)
  )
}

// Connection exceptions, too many connections or no resources, shutdown and start-up, a cancelled
// or timed-out statement, a read-only server after a failover.
const outage = /^(08|53|57)|^25006$|^25P03$/

function translate(err: unknown): unknown {
  const state = sqlState(err)
  if (state !== undefined && !outage.test(state)) return err
  if (err instanceof RangeError || err instanceof TypeError) return err
  return new CodedError('database_unavailable', 'the database cannot be reached', { cause: err })
}
