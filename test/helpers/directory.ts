import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

/**
 * A new directory, removed when `t` ends, after what was started in it since has been torn down.
 * (`t.testdir()` goes before the teardown handlers run, under the feet of whatever serves from it.)
 */
export async function directory(t: Pick<Test, 'teardown'>): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'omg-test-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}
