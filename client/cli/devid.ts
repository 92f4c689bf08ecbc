/** Device numbers on the command line: `5` or `dev5`. */
import { UsageError } from './failure.ts'

/** Reads a device number; undefined for any other text, such as the name of a host. */
export function readDevid(text: string): number | undefined {
  const devid = Number(/^(?:dev)?(\d{1,10})$/.exec(text)?.[1] ?? 0)
  return devid >= 1 && devid < 2 ** 31 ? devid : undefined
}

/** Reads a device number. Throws UsageError for any other text. */
export function parseDevid(text: string): number {
  const devid = readDevid(text)
  if (devid !== undefined) return devid
  throw new UsageError(`${JSON.stringify(text)} is not a device number, such as 5 or dev5`)
}
