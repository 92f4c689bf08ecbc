/**
 * The settings of a daemon: one TypeBox object, read from flags and the environment and checked once.
 * Nothing else in a daemon reads `process.env` or `process.argv`.
 */
import { readFileSync, statSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type Type from 'typebox'
import { Value } from 'typebox/value'
import { ConfigError } from './address.ts'
import { minSecretBytes } from './signing.ts'

export * from './address.ts'

export interface ConfigInput {
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Prefix of the settings in the environment: `OMG_TRACKER_`. */
  readonly prefix: string
}

interface PropertySchema {
  readonly type?: string
  readonly description?: string
  readonly default?: string | number | boolean
  /** Another environment variable that is read, where there is a common name: `DATABASE_URL`. */
  readonly env?: string
  /** Read from the environment or the file `--<name>-file`, never from a flag: others can see those. */
  readonly secret?: boolean
}

/** The name of a setting as a flag: `max-attempts` for `maxAttempts`. */
export const kebab = (name: string): string => name.replace(/[A-Z]/g, c => `-${c.toLowerCase()}`)
const screaming = (name: string): string => kebab(name).replaceAll('-', '_').toUpperCase()
const flagOf = (name: string, property: PropertySchema): string =>
  property.secret ? `${kebab(name)}-file` : kebab(name)

const propertiesOf = (schema: Type.TObject): [string, PropertySchema][] =>
  Object.entries(schema.properties) as [string, PropertySchema][]

/** Reads the settings from `input` and fills in the defaults. Throws ConfigError. */
export function loadConfig<T extends Type.TObject>(schema: T, input: ConfigInput): Type.Static<T> {
  const properties = propertiesOf(schema)
  const flags = parseFlags(properties, input.args)
  const given: Record<string, unknown> = {}
  for (const [name, property] of properties) {
    const text = textOf(name, property, flags, input)
    if (text !== undefined) given[name] = property.type === 'boolean' ? toBoolean(name, text) : text
  }
  const value = Value.Default(schema, Value.Convert(schema, given))
  const [problem] = Value.Errors(schema, value)
  if (problem) {
    const at = problem.instancePath.slice(1).split('/')[0] ?? ''
    const missing = (problem.params as { requiredProperties?: string[] }).requiredProperties?.[0]
    const name = missing ?? at
    const flag = flagOf(name, schema.properties[name] as PropertySchema)
    throw new ConfigError(`--${flag}: ${missing ? 'is required' : problem.message}`)
  }
  return value as Type.Static<T>
}

function parseFlags(properties: [string, PropertySchema][], args: readonly string[]) {
  const options = Object.fromEntries(
    properties.map(([name, property]) => [
      flagOf(name, property),
      { type: property.type === 'boolean' ? ('boolean' as const) : ('string' as const) },
    ]),
  )
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values
  } catch (err) {
    throw new ConfigError((err as Error).message.split('\n')[0] ?? 'unreadable command line')
  }
}

function textOf(
  name: string,
  property: PropertySchema,
  flags: Record<string, unknown>,
  { env, prefix }: ConfigInput,
): string | undefined {
  const flag = flags[flagOf(name, property)]
  const fromEnv = (variable: string): string | undefined =>
    env[variable] ?? (property.env ? env[property.env] : undefined)
  if (property.secret) {
    const file = flag ?? env[`${prefix}${screaming(name)}_FILE`]
    if (typeof file === 'string') return readSecretFile(name, file)
    return fromEnv(prefix + screaming(name))
  }
  if (flag === true) return 'true'
  if (typeof flag === 'string') return flag
  return fromEnv(prefix + screaming(name))
}

function toBoolean(name: string, text: string): boolean {
  if (['true', '1', 'yes', 'on'].includes(text)) return true
  if (['false', '0', 'no', 'off', ''].includes(text)) return false
  throw new ConfigError(`--${kebab(name)}: must be true or false, not ${JSON.stringify(text)}`)
}

function readSecretFile(name: string, file: string): string {
  let text: string
  let mode: number
  try {
    mode = statSync(file).mode
    text = readFileSync(file, 'utf8').trim()
  } catch (err) {
    throw new ConfigError(`--${kebab(name)}-file: ${(err as Error).message}`)
  }
  if (mode & 0o077) {
    throw new ConfigError(`--${kebab(name)}-file: ${file} is readable by others; chmod 600 it`)
  }
  return text
}

/** Throws ConfigError when a secret is shorter than 32 bytes. */
export function checkSecret(name: string, secret: string): void {
  if (Buffer.byteLength(secret) < minSecretBytes) {
    throw new ConfigError(`${name}: a secret has at least ${minSecretBytes} bytes`)
  }
}

/** The list of settings for `--help` of a daemon: flag and variable, and below them what the setting does. */
export function describeConfig(schema: Type.TObject, prefix: string): string {
  const entries = propertiesOf(schema).map(([name, property]) => {
    const { type, description = '', default: value = '', env } = property
    const flag = `--${flagOf(name, property)}${type === 'boolean' ? '' : ' …'}`
    const fallback = value === '' ? '' : ` (default ${value})`
    return `  ${flag}  ${env ?? prefix + screaming(name)}\n      ${description}${fallback}`
  })
  return entries.join('\n')
}
