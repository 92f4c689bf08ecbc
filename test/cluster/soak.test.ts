/**
 * A schedule of operations, kills and restarts that follows from a seed. `OMG_SEED` replays one, as
 * far as chance goes; `OMG_SOAK=10000` makes it that many steps long.
 */
import { randomInt } from 'node:crypto'
import t from 'tap'
import { checkAll, checkKept, evidence, settle } from './soak/check.ts'
import { Model } from './soak/model.ts'
import { Chance } from './soak/random.ts'
import { Locks, nextStep, type Run } from './soak/steps.ts'
import { startSystem } from './soak/system.ts'

const steps = Number(process.env['OMG_SOAK'] ?? 500)
const seed = Number(process.env['OMG_SEED'] ?? randomInt(2 ** 31))
/** Steps between two times of quiet, and steps under way at once. */
const stretch = 250
const atOnce = 4

t.setTimeout(600_000 + steps * 1_000)

t.test(`whatever is killed when, nothing is lost and nothing comes back; seed ${seed}`, async t => {
  const system = await startSystem(t, {
    trackers: 2,
    hosts: 4,
    devices: 2,
    // The hardest there is: whatever nobody owns at the moment is removed as soon as it was seen twice.
    settings: {
      lost_after: '2',
      trim_after: '1',
      delete_grace_seconds: '0',
      sweep_hours: '0',
      orphan_hours: '0',
    },
  })
  const run: Run = {
    system,
    model: new Model(),
    chance: new Chance(seed),
    contents: new Map(),
    wrong: [],
    log: [],
  }
  const locks = new Locks()
  for (let done = 0; done < steps && run.wrong.length === 0; done += stretch) {
    const underWay = new Set<Promise<void>>()
    for (let n = 0; n < Math.min(stretch, steps - done); n++) {
      const step = nextStep(run, locks)().finally(() => underWay.delete(step))
      underWay.add(step)
      if (underWay.size >= atOnce) await Promise.race(underWay)
      if (n % 50 === 49) await checkKept(run)
    }
    await Promise.all(underWay)
    if (await settle(run)) await checkAll(run)
    t.strictSame(run.wrong, [], `after ${Math.min(done + stretch, steps)} steps, seed ${seed}`)
  }
  if (run.wrong.length > 0) {
    t.comment(run.log.join('\n'))
    for (const text of await evidence(run)) t.comment(text)
  }
})
