/** What node's parser says of bytes that are no request. */

/** The error of 'clientError'. */
export interface ParserError extends Error {
  readonly code?: string
  readonly rawPacket?: Buffer
}

/** What bytes that are no request are answered with; undefined when the connection just broke. */
export function statusOf(
  { code, rawPacket }: ParserError,
  maxTargetBytes: number,
): number | undefined {
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return 408
  if (!code?.startsWith('HPE_')) return undefined
  const firstLine = rawPacket?.toString('latin1').split('\n', 1)[0] ?? ''
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return (/^[A-Z-]+ (\S+)/.exec(firstLine)?.[1] ?? '').length > maxTargetBytes ? 414 : 431
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return 413
    case 'HPE_INVALID_VERSION':
      return / HTTP\/\d\.\d\r$/.test(firstLine) ? 505 : 400
    default:
      return 400
  }
}
