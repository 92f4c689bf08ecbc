/** The progress of long transfers: a bar on a terminal, nothing elsewhere. */
import { SingleBar } from 'cli-progress'
import { formatBytes, formatSeconds, printable, shorten } from './text.ts'

export interface Meter {
  /** Counts bytes that are done; a negative number when some have to be sent again. */
  add(bytes: number): void
  /** Clears the bar, so that a line can be printed. The next `add` draws it again. */
  clear(): void
  /** Removes the bar for good. May be called twice. */
  stop(): void
}

interface MeterOptions {
  readonly stream: NodeJS.WriteStream
  readonly label: string
  /** Bytes in all; undefined when that is not known. */
  readonly total: number | undefined
}

/** Smaller transfers get no bar: they are over before anybody looks. */
const minBytes = 4 * 1024 * 1024

const barSize = 20

/** Creates a meter that draws on `stream`. */
export function createMeter({ stream, label, total }: MeterOptions): Meter {
  const hidden = !stream.isTTY || (total !== undefined && total < minBytes)
  const startedAt = performance.now()
  let done = 0
  let bar: SingleBar | undefined
  const render = (): string => {
    const text = describeProgress({
      label,
      done,
      total,
      seconds: (performance.now() - startedAt) / 1000,
    })
    return text.slice(0, (stream.columns || 80) - 1)
  }
  return {
    add(bytes) {
      done += bytes
      if (hidden || (total === undefined && done < minBytes)) return
      if (!bar) {
        // Wrapping stays as it is, so that a process that is killed leaves the terminal usable.
        bar = new SingleBar({
          stream,
          format: render,
          clearOnComplete: true,
          linewrap: true,
          forceRedraw: true,
        })
        bar.start(total ?? 0, 0)
      }
      bar.update(done)
    },
    clear() {
      if (!bar) return
      stream.cursorTo(0)
      stream.clearLine(1)
    },
    stop() {
      bar?.stop()
      bar = undefined
    },
  }
}

/** The line of the bar: how much is done, how fast, and how long it will still take. */
export function describeProgress({
  label,
  done,
  total,
  seconds,
}: {
  readonly label: string
  readonly done: number
  readonly total: number | undefined
  readonly seconds: number
}): string {
  const name = shorten(printable(label), 20)
  const rate = done / Math.max(seconds, 0.001)
  const speed = `${formatBytes(Math.round(rate))}/s`
  if (total === undefined) return `${name}  ${formatBytes(done)}  ${speed}`
  const share = total === 0 ? 1 : Math.min(Math.max(done / total, 0), 1)
  const filled = Math.round(share * barSize)
  const bar = '='.repeat(filled) + ' '.repeat(barSize - filled)
  const percent = `${Math.floor(share * 100)}%`.padStart(4)
  const left = done > 0 ? `ETA ${formatSeconds((total - done) / rate)}` : ''
  return `${name}  [${bar}] ${percent}  ${formatBytes(total)}  ${speed}  ${left}`
}
