// eslint-disable-next-line no-control-regex -- these are what must not reach a terminal
const controls = /[\0-\x1f\x7f]/g

/** A wire string fit for a terminal, on one line: control characters are shown as `\xHH`. */
export function printable(wire: string): string {
  return wire.replace(controls, char => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
