/** The space that trackers leave free on devices. */
import type { Settings } from '../../common/protocol/configuration.ts'

/** MiB that stay free where `min_free_space_mb` is not set; the tracker has the same default. */
const defaultMegabytes = 100

/** Bytes that stay free on every device: the setting `min_free_space_mb`. */
export function reserveOf(settings: Settings): number {
  const value = Number(settings['min_free_space_mb'] ?? defaultMegabytes)
  return (Number.isFinite(value) ? value : defaultMegabytes) * 1024 * 1024
}
