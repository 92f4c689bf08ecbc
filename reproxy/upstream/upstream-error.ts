/** How a peer can fail to answer. */
export type UpstreamFailure =
  | 'connect' // no connection: refused, unreachable, or not within its time
  | 'timeout' // no head, or no further byte, within its time
  | 'closed' // closed or reset before the end
  | 'malformed' // not HTTP, or not to be trusted
  | 'aborted' // given up by us, because the client left

/** Why a peer did not give a whole response. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly kind: UpstreamFailure

  constructor(kind: UpstreamFailure, message: string, options?: ErrorOptions) {
    super(message, options)
    this.kind = kind
  }
}
