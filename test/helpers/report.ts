/**
 * Turns the TAP output (version 14) of test files into a report for people: a line for each file, the
 * reason of each skip, the details of each failure, and the numbers of tests that passed, failed and were
 * skipped.
 *
 * A test is a subtest that has no subtests itself, or a file without subtests. It counts as skipped when
 * all its assertions are. A failure outside of all tests counts as one more: a file that crashes, breaks
 * its plan, or has no tests.
 */
import { Parser, type FinalResults, type Result } from 'tap-parser'

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** How a test file's process ended. */
export interface Ending {
  /** The exit status; null when a signal ended it. */
  readonly status: number | null
  readonly signal: string | null
  readonly ms: number
}

/** The report of one test file. */
export interface FileReport {
  /** Takes a piece of its standard output. */
  write(chunk: string): void
  end(ending: Ending): void
}

export interface Report {
  /** Begins the report of a file. Files may run at the same time; each is printed when it has ended. */
  file(name: string): FileReport
  /** Prints the names of all failures. A signal that ended the run, or a run without tests, is one too. */
  end(signal?: string): Counts
}

/** The result of a whole file or subtest. */
type Outcome = Pick<Result, 'ok' | 'skip' | 'todo' | 'name' | 'diag'>

/** A file or a subtest. */
interface Block {
  readonly name: string
  readonly subtests: Block[]
  /** Its own assertions, without the results of subtests. */
  readonly points: Result[]
  outcome: Outcome | undefined
}

const emptyBlock = (name: string): Block => ({ name, subtests: [], points: [], outcome: undefined })

/** Creates a report that prints line by line. */
export function createReport(print: (line: string) => void): Report {
  const files: Block[] = []
  const failures: string[] = []
  return {
    file(name) {
      const block = emptyBlock(name)
      const output: string[] = []
      let results: FinalResults | undefined
      const parser = new Parser(all => (results = all))
      read(parser, block)
      parser.on('extra', (line: string) => output.push(line.trimEnd()))
      return {
        write: chunk => void parser.write(chunk),
        end({ status, signal, ms }) {
          parser.end()
          const { ok = false, plan } = results ?? {}
          const skip = plan?.skipAll && plan.skipReason.replace(/^SKIP:?\s*/i, '')
          block.outcome = {
            name,
            ok: ok && status === 0,
            skip: status === 0 && (skip === '' || (skip ?? false)),
            todo: false,
            diag: signal === null ? { exitCode: status } : { signal },
          }
          files.push(block)
          failures.push(...printFile(block, { ms, output, print }))
        },
      }
    },
    end(signal) {
      const counts = sum(files.map(countOf))
      if (signal !== undefined) failures.push(`the run was ended by ${signal}`)
      else if (files.length === 0) failures.push('there was no test')
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

const isSkip = (point: Outcome): boolean => Boolean(point.skip) || Boolean(point.todo)
const isFailure = (point: Outcome): boolean => !point.ok && !isSkip(point)
/** tap reports a file without tests as skipped. Here it fails: probably the tests were not reached. */
const isEmptyFile = ({ outcome }: Block): boolean => outcome?.skip === 'no tests found'
const hasFailed = (block: Block): boolean =>
  isEmptyFile(block) || (block.outcome !== undefined && isFailure(block.outcome))
/** How the process of a test file ended. */
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

/** The counts as text: `3 passed, 0 failed, 1 skipped`. */
export function formatCounts({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

/** Prints the report of a file; `output` is what it wrote besides TAP. Returns the names of its failures. */
function printFile(
  file: Block,
  { ms, output, print }: { ms: number; output: string[]; print: (line: string) => void },
): readonly string[] {
  const counts = countOf(file)
  const took = `${Math.round(ms)} ms`
  print(`${counts.failed > 0 ? '✗' : '✓'} ${file.name}: ${formatCounts(counts)} (${took})`)
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
  const reason = ({ skip, todo }: Outcome): string => {
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

/** All failures, each with the innermost block that it occurred in, so that none is printed twice. */
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

/** Diagnostics in the style of YAML, with texts of several lines left as they are. */
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
