/** Schemas of the HTTP API as text for the reference. */

interface Schema {
  readonly type?: string
  readonly const?: unknown
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly patternProperties?: Readonly<Record<string, Schema>>
}

/** A JSON schema written like a TypeScript type, with descriptions as comments. */
export function schemaText(schema: unknown, indent = ''): string {
  const { type, properties, required = [], items, anyOf, patternProperties } = schema as Schema
  const value = (schema as Schema).const
  if (value !== undefined) return JSON.stringify(value).replaceAll('"', "'")
  if (anyOf) return anyOf.map(one => schemaText(one, indent)).join(' | ')
  if (type === 'array') {
    const text = schemaText(items, indent)
    return text.includes(' | ') && !text.startsWith('{') ? `(${text})[]` : `${text}[]`
  }
  if (patternProperties) {
    return `{ [name: string]: ${schemaText(Object.values(patternProperties)[0], indent)} }`
  }
  if (type === 'object') {
    const deeper = `${indent}  `
    const lines = Object.entries(properties ?? {}).map(([name, property]) => {
      const mark = required.includes(name) ? '' : '?'
      const about = property.description === undefined ? '' : ` // ${property.description}`
      return `${deeper}${name}${mark}: ${schemaText(property, deeper)}${about}\n`
    })
    return `{\n${lines.join('')}${indent}}`
  }
  return type === 'integer' ? 'number' : (type ?? 'unknown')
}
