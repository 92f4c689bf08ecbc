import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/**
 * Creates a directory that is removed when `t` ends, after everything that was started later has been torn
 * down. (`t.testdir()` is removed before the teardown handlers run, while daemons may still use it.)
 */
export async function directory(t: Pick<Test, 'teardown'>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'omg-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}
