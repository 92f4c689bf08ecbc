/** Which of the offered targets to write to next. */
import type { UploadTarget } from './lane.ts'

export interface Spread {
  /**
   * The next target that was not given out yet: the first on a host that is not in use, else the
   * first. Undefined when all are used up.
   */
  take(): UploadTarget | undefined
  /** This target failed; its host is not in use by it any more. */
  drop(target: UploadTarget): void
}

/** Creates the choice over `targets`, best first. */
export function createSpread(targets: readonly UploadTarget[]): Spread {
  const left = [...targets]
  const inUse: string[] = []
  return {
    take() {
      const fresh = left.findIndex(({ host }) => !inUse.includes(host))
      const [target] = left.splice(Math.max(fresh, 0), 1)
      if (target) inUse.push(target.host)
      return target
    },
    drop({ host }) {
      inUse.splice(inUse.indexOf(host), 1)
    },
  }
}
