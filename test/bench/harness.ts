/**
 * How a benchmark is run: subject and baseline in turn, several rounds of each, and the ratio of
 * the rounds that stood side by side. A machine that is busy with something else slows both.
 */

/** A thing to do over and over; returns how much it did, in the benchmark's unit. */
export type Work = () => Promise<number>

export interface Pair {
  readonly subject: Work
  readonly baseline: Work
}

export interface Benchmark<Bench> {
  readonly name: string
  /** What is counted: `lookups`, `MB`. */
  readonly unit: string
  /** How many at once. */
  readonly concurrency: number
  /** What the baseline is, in a few words. */
  readonly against: string
  /** Puts in place what the work needs. */
  readonly prepare: (bench: Bench) => Promise<Pair>
}

/** What times itself, because it cannot be done over and over. */
export interface Timed<Bench> extends Pick<
  Benchmark<Bench>,
  'name' | 'unit' | 'concurrency' | 'against'
> {
  readonly time: (bench: Bench, rounds: number) => Promise<Outcome>
}

export interface Outcome {
  /** Medians, in units a second. */
  readonly subject: number
  readonly baseline: number
  /** Median of the rounds' ratios, subject to baseline. */
  readonly ratio: number
  /** Milliseconds that 99 of 100 of the subject's works took at most, in the median round. */
  readonly p99: number
  /** What else was found out, for the end of the line. */
  readonly note?: string
}

/** Measures one benchmark in `rounds` rounds of `seconds` each way, after one that is not counted. */
export async function compare(
  { subject, baseline }: Pair,
  { concurrency, rounds, seconds }: { concurrency: number; rounds: number; seconds: number },
): Promise<Outcome> {
  const pairs: { subject: Round; baseline: Round }[] = []
  for (let round = 0; round <= rounds; round++) {
    const pair = {
      subject: await measure(subject, { concurrency, seconds }),
      baseline: await measure(baseline, { concurrency, seconds }),
    }
    if (round > 0) pairs.push(pair)
  }
  return {
    subject: median(pairs.map(pair => pair.subject.rate)),
    baseline: median(pairs.map(pair => pair.baseline.rate)),
    ratio: median(pairs.map(pair => pair.subject.rate / pair.baseline.rate)),
    p99: median(pairs.map(pair => pair.subject.p99)),
  }
}

interface Round {
  readonly rate: number
  readonly p99: number
}

async function measure(
  work: Work,
  { concurrency, seconds }: { concurrency: number; seconds: number },
): Promise<Round> {
  const startedAt = performance.now()
  const endAt = startedAt + seconds * 1000
  let done = 0
  const times: number[] = []
  const lane = async (): Promise<void> => {
    for (let from = startedAt; from < endAt;) {
      // Not `done += await …`, which would add to what `done` was before the wait.
      const did = await work()
      done += did
      const to = performance.now()
      times.push(to - from)
      from = to
    }
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
  const rate = done / ((performance.now() - startedAt) / 1000)
  times.sort((a, b) => a - b)
  return { rate, p99: times[Math.floor(times.length * 0.99)] ?? Number.NaN }
}

/** The middle one of some values, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

/** Runs `work` for 0 to `count` - 1, so many at once. */
export async function inParallel(
  count: number,
  atOnce: number,
  work: (i: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane))
}

/** One line of the report. */
export function formatRow(
  benchmark: Pick<Benchmark<never>, 'name' | 'unit' | 'concurrency' | 'against'>,
  { subject, baseline, ratio, p99, note }: Outcome,
): string {
  const shown = (value: number): string =>
    value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1)
  const { name, unit, concurrency, against } = benchmark
  return (
    `${name.padEnd(34)} ${shown(subject).padStart(9)} ${unit}/s   ratio ${ratio.toFixed(2).padStart(5)}   p99 ${Number.isNaN(p99) ? '     -' : p99.toFixed(1).padStart(6)} ms` +
    `   (${against}: ${shown(baseline)} ${unit}/s; ${concurrency} at once)${note === undefined ? '' : `   ${note}`}`
  )
}
