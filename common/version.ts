/** The version of this package. */
import { readFileSync } from 'node:fs'

/** As `package.json` has it, which lies two folders above the compiled file. */
export const version: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
).version
