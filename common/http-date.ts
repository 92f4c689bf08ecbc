/** The Date field of HTTP answers. */

let date = ''
let dateSecond = 0

/** The current time as a Date field (RFC 9110 section 5.6.7). The text is made once a second. */
export function httpDate(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== dateSecond) {
    dateSecond = second
    date = new Date(second * 1000).toUTCString()
  }
  return date
}
