/**
 * Where settings come from: a JSON file, and above it flags and the environment for those that are
 * one value or a plain list. All of it is checked before anything starts.
 */
import { readFileSync } from 'node:fs'
import Type from 'typebox'
import { Value } from 'typebox/value'
import { ConfigError, kebab } from '../../common/config.ts'
import { LogLevel } from '../../common/log.ts'
import { splitList } from './addresses.ts'
import { ReproxyConfig } from './schema.ts'

/** What stands before a setting's name in the environment. */
export const envPrefix = 'OMG_REPROXY_'

interface Property {
  readonly type?: string
  readonly anyOf?: unknown
  readonly description?: string
  readonly default?: unknown
}

const properties = Object.entries(ReproxyConfig.properties) as [string, Property][]
/** Settings of several values with names of their own: only a file can hold them. */
const onlyInFile = new Set(
  properties.flatMap(([name, { type }]) => (type === 'object' ? name : [])),
)
const lists = new Set(properties.flatMap(([name, { type }]) => (type === 'array' ? name : [])))

/** The settings that can be given as a flag or variable, all of them text, and the file's path. */
export const ReproxyFlags = Type.Object({
  config: Type.Optional(Type.String({ description: 'JSON file with settings; flags win over it' })),
  app: Type.Optional(Type.String({ description: 'the application server, HOST:PORT' })),
  ...Object.fromEntries(
    properties
      .filter(([name]) => !onlyInFile.has(name))
      .map(([name, property]) => [name, Type.Optional(Type.String(flagOptions(name, property)))]),
  ),
  // Whoever makes the log needs it first; without a default, which would win over the file.
  logLevel: Type.Optional(Type.Union(LogLevel.anyOf, flagOptions('logLevel', LogLevel))),
})
export type ReproxyFlags = Readonly<Record<string, string | undefined>>

function flagOptions(name: string, { description = '', default: fallback }: Property) {
  const many = lists.has(name) ? ', by comma' : ''
  const scalar = typeof fallback === 'string' || typeof fallback === 'number'
  const shown = scalar ? ` (default ${fallback})` : ''
  return { description: description + many + shown, secret: name === 'trackerToken' }
}

/** Reads the file that `flags` name, and puts the other flags above it. Throws ConfigError. */
export function readConfig({ config: path, app, ...flags }: ReproxyFlags): ReproxyConfig {
  const given = Object.entries(flags).filter(([, text]) => text !== undefined)
  if (app !== undefined && flags['apps'] === undefined) given.push(['apps', app])
  const file = path === undefined ? {} : readFile(path)
  // The file by itself first, so that what is wrong is told by the name it has there.
  resolveConfig(file, name => `${path}: ${name}`)
  const overlay = Value.Convert(Type.Partial(ReproxyConfig), asLists(Object.fromEntries(given)))
  return resolveConfig({ ...file, ...(overlay as object) }, name => `--${kebab(name)}`)
}

function readFile(path: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch (err) {
    throw new ConfigError(`--config: ${path}: ${(err as Error).message.split('\n')[0]}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError(`--config: ${path}: is not a JSON object`)
  }
  return value as Record<string, unknown>
}

/** Lists may also be one text with commas. */
function asLists(given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [
      name,
      lists.has(name) && typeof value === 'string' ? splitList(value) : value,
    ]),
  )
}

/**
 * Checks `given` and fills defaults in. Settings that are null count as absent. Throws ConfigError, in
 * which `label` says how the setting is called.
 */
export function resolveConfig(
  given: Readonly<Record<string, unknown>>,
  label: (name: string) => string = name => name,
): ReproxyConfig {
  const present = withoutNulls(asLists(given))
  const direct = present['direct']
  if (typeof direct === 'object') {
    const { trackers, ...rest } = withoutNulls(direct as object)
    const listed = typeof trackers === 'string' ? splitList(trackers) : trackers
    present['direct'] = listed === undefined ? rest : { ...rest, trackers: listed }
  }
  const value = Value.Default(ReproxyConfig, present)
  const problems = Value.Errors(ReproxyConfig, value)
  const [problem] = problems
  if (problem) throw new ConfigError(describe(problem, problems, label))
  return value as ReproxyConfig
}

const withoutNulls = (given: object): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== null && value !== undefined),
  )

type Problem = ReturnType<typeof Value.Errors>[number]

/** What is wrong with the setting that `problem` is about. */
function describe(
  problem: Problem,
  problems: readonly Problem[],
  label: (name: string) => string,
): string {
  const { instancePath } = problem
  const path = instancePath.slice(1).replaceAll('/', '.')
  if (problem.keyword === 'boolean') return `${label(path)}: is no setting` // by `additionalProperties`
  if (problem.keyword === 'required') {
    const [missing = ''] = problem.params.requiredProperties
    return `${label(path === '' ? missing : `${path}.${missing}`)}: is required`
  }
  if (problem.keyword !== 'const') return `${label(path)}: ${problem.message}`
  const allowed = problems.flatMap(other =>
    other.keyword === 'const' && other.instancePath === instancePath
      ? [other.params.allowedValue]
      : [],
  )
  return `${label(path)}: must be one of ${allowed.join(', ')}`
}
