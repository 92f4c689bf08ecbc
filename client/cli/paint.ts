/** Colours of text on a terminal. */

type Paint = (text: string) => string

export interface Painter {
  readonly red: Paint
  readonly green: Paint
  readonly yellow: Paint
  readonly plain: Paint
}

const plain: Paint = text => text

const paintWith =
  (code: number): Paint =>
  text =>
    `\x1b[${code}m${text}\x1b[39m`

/**
 * Functions that colour text for `stream`. They leave it plain unless that is a terminal with colours;
 * `NO_COLOR` and dumb terminals count as without.
 */
export function painter(stream: NodeJS.WriteStream): Painter {
  const colours = stream.isTTY && stream.hasColors()
  const paint = (code: number): Paint => (colours ? paintWith(code) : plain)
  return { red: paint(31), green: paint(32), yellow: paint(33), plain }
}
