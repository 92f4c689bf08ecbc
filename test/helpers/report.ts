/**
 * Tells people what tap prints for programs: a line for each test file, the reason of each skip and
 * all about each failure, and at the end how many tests passed, failed and were skipped.
 *
 * A test is a subtest without subtests of its own, or a file without any. One that only skips is
 * skipped. What fails outside of every test (a file that crashes, breaks its plan or has no tests)
 * counts as one failure more.
 */
import { Parser, type Result } from 'tap-parser'

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export interface Report {
  /** Takes what tap writes to its standard output. */
  write(chunk: string): void
  /**
   * Takes tap's exit status or the signal that ended it, and repeats the names of what failed. The
   * result's `failed` is 0 only if the status is 0 and there was a test.
   */
  end(status: number | string): Counts
}

/** A file or a subtest. */
interface Block {
  readonly name: string
  readonly subtests: Block[]
  /** Its own test points, besides those that sum up subtests. */
  readonly points: Result[]
  /** The point in its parent that sums it up. */
  outcome: Result | undefined
}

const emptyBlock = (name: string): Block => ({ name, subtests: [], points: [], outcome: undefined })

/** Creates a report that prints line by line. */
export function createReport(print: (line: string) => void): Report {
  const run = emptyBlock('')
  const failures: string[] = []
  let output: string[] = []
  const parser = new Parser()
  read(parser, run)
  parser.on('extra', (line: string) => output.push(line.trimEnd()))
  parser.on('assert', () => {
    const file = run.subtests.at(-1)
    if (file) failures.push(...printFile(file, output, print))
    output = []
  })
  return {
    write: chunk => void parser.write(chunk),
    end(status) {
      parser.end()
      const counts = sum(run.subtests.map(countOf))
      if (typeof status === 'string') failures.push(`the run was ended by ${status}`)
      else if (run.subtests.length === 0) failures.push('there was no test')
      else if (status !== 0 && counts.failed === 0) failures.push(`tap ended with ${status}`)
      if (failures.length === 0) return counts
      print(['', 'Failed:', ...failures.map(name => `  ${name}`)].join('\n'))
      return { ...counts, failed: Math.max(counts.failed, 1) }
    },
  }
}

function read(parser: Parser, block: Block): void {
  let subtest: Block | undefined
  parser.on('child', (child: Parser) => {
    subtest = emptyBlock(child.name)
    read(child, subtest)
  })
  parser.on('assert', (point: Result) => {
    if (subtest) block.subtests.push(Object.assign(subtest, { outcome: point }))
    else block.points.push(point)
    subtest = undefined
  })
}

const sum = (all: readonly Counts[]): Counts => ({
  passed: all.reduce((n, counts) => n + counts.passed, 0),
  failed: all.reduce((n, counts) => n + counts.failed, 0),
  skipped: all.reduce((n, counts) => n + counts.skipped, 0),
})

const isSkip = (point: Result): boolean => Boolean(point.skip) || Boolean(point.todo)
const isFailure = (point: Result): boolean => !point.ok && !isSkip(point)
/** tap lets a file without tests pass as skipped; it is more likely that they were not reached. */
const isEmptyFile = ({ outcome }: Block): boolean => outcome?.skip === 'no tests found'
const hasFailed = (block: Block): boolean =>
  isEmptyFile(block) || (block.outcome !== undefined && isFailure(block.outcome))
/** What tap says of a test file's process. */
const processOf = ({ outcome }: Block): { exitCode?: number; signal?: string } =>
  (outcome?.diag ?? {}) as { exitCode?: number; signal?: string }

function countOf(block: Block): Counts {
  const skipped = block.points.filter(isSkip).length
  if (block.subtests.length > 0) {
    const within = sum(block.subtests.map(countOf))
    const beside = block.points.filter(isFailure).length
    const failed = within.failed + beside
    const unexplained = hasFailed(block) && (failed === 0 || processOf(block).signal) ? 1 : 0
    return { ...within, failed: failed + unexplained, skipped: within.skipped + skipped }
  }
  if (hasFailed(block)) return { passed: 0, failed: 1, skipped: 0 }
  if (block.outcome && isSkip(block.outcome)) return { passed: 0, failed: 0, skipped: 1 }
  if (skipped > 0 && skipped === block.points.length) return { passed: 0, failed: 0, skipped }
  return { passed: 1, failed: 0, skipped: 0 }
}

/** The counts as they stand in a sentence: `3 passed, 0 failed, 1 skipped`. */
export function formatCounts({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

/** Prints a file that has ended; `output` is what it wrote besides. Returns the names of what failed. */
function printFile(
  file: Block,
  output: readonly string[],
  print: (line: string) => void,
): readonly string[] {
  const counts = countOf(file)
  const ms = Math.round(file.outcome?.time ?? 0)
  print(`${counts.failed > 0 ? '✗' : '✓'} ${file.name}: ${formatCounts(counts)} (${ms} ms)`)
  for (const line of describeSkips(file, [])) print(`  ${line}`)
  if (counts.failed === 0) return []
  for (const line of output) print(`  | ${line}`)
  const failures: string[] = []
  for (const { path, lines } of listFailures(file, [])) {
    const name = path.join(' › ')
    failures.push(name)
    print(`  ✗ ${name}`)
    for (const line of lines) print(`      ${line}`)
  }
  return failures
}

function describeSkips(block: Block, path: readonly string[]): string[] {
  const reason = ({ skip, todo }: Result): string => {
    const given = skip || todo
    return typeof given === 'string' ? `: ${given}` : ''
  }
  const outcome = block.outcome && !isEmptyFile(block) ? [block.outcome] : []
  const own = [...block.points, ...outcome].filter(isSkip)
  return [
    ...own.map(point => `skipped ${[...path, point.name].join(' › ')}${reason(point)}`),
    ...block.subtests.flatMap(subtest => describeSkips(subtest, [...path, subtest.name])),
  ]
}

interface Failure {
  readonly path: readonly string[]
  readonly lines: readonly string[]
}

/** The failures in the innermost block that has them, so that each is told once. */
function listFailures(block: Block, parents: readonly string[]): Failure[] {
  if (!hasFailed(block)) return []
  const path = [...parents, block.name]
  const points = block.points.filter(isFailure)
  const within = block.subtests.flatMap(subtest => listFailures(subtest, path))
  const lines = points.flatMap(point => [point.name, ...describeDiagnostics(point.diag)])
  const { exitCode, signal } = processOf(block)
  if (signal) lines.push(`ended by ${signal}`)
  if (isEmptyFile(block)) lines.push('has no tests')
  if (lines.length === 0 && within.length === 0) {
    if (exitCode !== undefined) lines.push(`failed outside of its tests, exit status ${exitCode}`)
    else lines.push('failed outside of its assertions', ...describeDiagnostics(block.outcome?.diag))
  }
  return lines.length > 0 ? [{ path, lines }, ...within] : within
}

/** As YAML would look, with texts of several lines left as they are. */
function describeDiagnostics(diagnostics: unknown, indent = '  '): string[] {
  if (typeof diagnostics !== 'object' || diagnostics === null) return []
  return Object.entries(diagnostics).flatMap(([name, value]: [string, unknown]) => {
    if (typeof value === 'object' && value !== null) {
      return [`${indent}${name}:`, ...describeDiagnostics(value, `${indent}  `)]
    }
    const lines = String(value).trimEnd().split('\n')
    if (lines.length === 1) return [`${indent}${name}: ${lines[0]}`]
    return [`${indent}${name}:`, ...lines.map(line => `${indent}  ${line}`)]
  })
}
