/** Settings of the cluster that the command line reckons with. */
import type { Settings } from '../../common/protocol/configuration.ts'

/** Bytes that stay free on every device: `min_free_space_mb`, 100 where it is not set. */
export function reserveOf(settings: Settings): number {
  const value = Number(settings['min_free_space_mb'] ?? 100)
  return (Number.isFinite(value) ? value : 100) * 1024 * 1024
}
