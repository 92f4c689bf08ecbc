/** The throw-away Postgres of a test run. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '../../common/log.ts'
import { startPostgres } from '../../deploy/postgres.ts'

/** A started throw-away server. */
export interface TestServer {
  readonly url: string
  /** Ends it and removes its files. */
  close(): Promise<void>
}

/** Starts a throw-away Postgres in the temporary directory. */
export async function startTestServer(): Promise<TestServer> {
  const dir = await mkdtemp(join(tmpdir(), 'omg-test-postgres-'))
  const remove = (): Promise<void> => rm(dir, { recursive: true, force: true })
  try {
    const log = createLogger('postgres', { level: 'warn', fd: 2 })
    const server = await startPostgres({ dir, throwaway: true, log })
    return { url: server.url, close: () => server.close().then(remove) }
  } catch (err) {
    await remove()
    throw err
  }
}
