/** How names, sizes and tables look as text. */

// Control characters (C0, DEL, C1), line separators, marks that reorder text, lone surrogates: all
// that could steer a terminal, break a line, or make a name look like another one.
const steering =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cs}/gu

/** Makes `text` safe to print: everything in `steering` is escaped, as in `\x1b` or `\u202e`. */
export function escapeControls(text: string): string {
  return text.replace(steering, char => {
    const code = char.charCodeAt(0)
    return code < 0x100 ? escapeByte(code) : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

/**
 * Makes a name safe to print. Unlike `escapeControls` it also doubles backslashes, so that no two
 * names look the same.
 */
export function printable(name: string): string {
  return escapeControls(name.replaceAll('\\', '\\\\'))
}

/** Makes a key safe to print: like `printable`, with `\xff` for bytes of a key that is not UTF-8. */
export function printableKey({
  key,
  keyBytes,
}: {
  readonly key: string
  readonly keyBytes?: Uint8Array | undefined
}): string {
  if (keyBytes === undefined) return printable(key)
  const byte = (code: number): string =>
    code > 0x7e ? escapeByte(code) : printable(String.fromCharCode(code))
  return Array.from(keyBytes, byte).join('')
}

const escapeByte = (code: number): string => `\\x${code.toString(16).padStart(2, '0')}`

const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB']

/** A size with three significant digits, in units of 1000: `1.23 MB`. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  let value = bytes / 1000
  let power = 1
  for (; value >= 999.5 && power < units.length - 1; power++) value /= 1000
  return `${value.toPrecision(3)} ${units[power]}`
}

/** A size that may not be known, which is `-`. */
export const formatSize = (bytes: number | null): string =>
  bytes === null ? '-' : formatBytes(bytes)

/** Seconds as `m:ss` or `h:mm:ss`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds)
  const two = (value: number): string => String(value % 60).padStart(2, '0')
  const minutes = Math.floor(whole / 60)
  return minutes < 60
    ? `${minutes}:${two(whole)}`
    : `${Math.floor(minutes / 60)}:${two(minutes)}:${two(whole)}`
}

/** `1 file`, `2 files`. */
export const plural = (count: number, noun: string, nouns = `${noun}s`): string =>
  `${count.toLocaleString('en')} ${count === 1 ? noun : nouns}`

/** `dev1 dev2`; `none` when there are none. */
export const deviceNames = (devids: readonly number[], none = '-'): string =>
  devids.map(devid => `dev${devid}`).join(' ') || none

export interface Column {
  readonly title: string
  readonly right?: boolean
  /** Its cells may be shortened where the table would be too wide. */
  readonly shrink?: boolean
}

/** A cell: its text, or its text and a function that colours it. */
export type Cell = string | { readonly text: string; readonly paint: (text: string) => string }

/**
 * A table: titles on top, a line for each row, two spaces between columns. Cells are made printable.
 * Where a line would be wider than `width` terminal columns, columns marked `shrink` get narrower.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width = Infinity,
): string {
  const texts = [columns.map(({ title }) => title), ...rows.map(row => row.map(cellText))]
  const widths = columns.map((_, i) => Math.max(...texts.map(row => widthOf(row[i] ?? ''))))
  let excess = widths.reduce((sum, one) => sum + one + 2, -2) - width
  for (const [i, { shrink }] of columns.entries()) {
    const now = widths[i] ?? 0
    if (!shrink || excess <= 0) continue
    widths[i] = Math.max(now - excess, Math.min(now, 8))
    excess -= now - widths[i]
  }
  const lines = texts.map((row, y) => {
    const cells = columns.map(({ right }, x) => {
      const size = widths[x] ?? 0
      const text = shorten(row[x] ?? '', size)
      const cell = y === 0 ? undefined : rows[y - 1]?.[x]
      const shown = typeof cell === 'object' ? cell.paint(text) : text
      const gap = ' '.repeat(size - widthOf(text))
      return right ? gap + shown : shown + gap
    })
    return cells.join('  ').trimEnd()
  })
  return `${lines.join('\n')}\n`
}

const cellText = (cell: Cell): string => printable(typeof cell === 'string' ? cell : cell.text)

// Characters that take two columns on a terminal (East Asian Wide and Fullwidth of Unicode's UAX #11),
// and below those that take none.
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u
const joined = /\p{M}|[\u200b-\u200d]/u

const columnsOf = (char: string): number => (joined.test(char) ? 0 : wide.test(char) ? 2 : 1)

/** Columns that a line takes on a terminal. */
const widthOf = (text: string): number =>
  Array.from(text).reduce((sum, char) => sum + columnsOf(char), 0)

/** `text`, cut to at most `size` columns; `…` stands for what is left out. */
export function shorten(text: string, size: number): string {
  if (widthOf(text) <= size) return text
  let kept = ''
  let width = 0
  for (const char of text) {
    width += columnsOf(char)
    if (width >= size) break
    kept += char
  }
  return `${kept}…`
}

/** Breaks a text into lines of at most `width` columns; a longer word gets a line of its own. */
export function wrap(text: string, width: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && widthOf(line) + 1 + widthOf(word) > width) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return `${[...lines, line].join('\n')}\n`
}
