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

export interface Outcome {
  /** Medians, in units a second. */
  readonly subject: number
  readonly baseline: number
  /** Median of the rounds' ratios, subject to baseline. */
  readonly ratio: number
}

/** Measures one benchmark in `rounds` rounds of `seconds` each way, after one that is not counted. */
export async function compare(
  { subject, baseline }: Pair,
  { concurrency, rounds, seconds }: { concurrency: number; rounds: number; seconds: number },
): Promise<Outcome> {
  const pairs: { subject: number; baseline: number }[] = []
  for (let round = 0; round <= rounds; round++) {
    const pair = {
      subject: await rate(subject, { concurrency, seconds }),
      baseline: await rate(baseline, { concurrency, seconds }),
    }
    if (round > 0) pairs.push(pair)
  }
  return {
    subject: median(pairs.map(pair => pair.subject)),
    baseline: median(pairs.map(pair => pair.baseline)),
    ratio: median(pairs.map(pair => pair.subject / pair.baseline)),
  }
}

async function rate(
  work: Work,
  { concurrency, seconds }: { concurrency: number; seconds: number },
): Promise<number> {
  const startedAt = performance.now()
  const endAt = startedAt + seconds * 1000
  let done = 0
  const lane = async (): Promise<void> => {
    while (performance.now() < endAt) {
      // Not `done += await …`, which would add to what `done` was before the wait.
      const did = await work()
      done += did
    }
  }
  await Promise.all(Array.from({ length: concurrency }, lane))
  return done / ((performance.now() - startedAt) / 1000)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2
}

/** One line of the report. */
export function formatRow(
  benchmark: Benchmark<never>,
  { subject, baseline, ratio }: Outcome,
): string {
  const shown = (value: number): string =>
    value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(1)
  const { name, unit, concurrency, against } = benchmark
  return (
    `${name.padEnd(34)} ${shown(subject).padStart(9)} ${unit}/s   ratio ${ratio.toFixed(2).padStart(5)}` +
    `   (${against}: ${shown(baseline)} ${unit}/s; ${concurrency} at once)`
  )
}
