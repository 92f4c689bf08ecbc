let date = ''
let dateSecond = 0

/** The Date field of now (RFC 9110 section 5.6.7), made once a second. */
export function httpDate(): string {
  const second = Math.floor(Date.now() / 1000)
  if (second !== dateSecond) {
    dateSecond = second
    date = new Date(second * 1000).toUTCString()
  }
  return date
}
