/** What an application and a browser hand each other for an upload; all of it is plain JSON. */

/** Allows whoever has it to write one file, which is not there before the application commits it. */
export interface UploadTicket {
  /** Names the upload in the commit. */
  readonly upload: string
  /** Signed URLs to PUT to: the first, or a later one where that fails. */
  readonly targets: readonly { readonly devid: number; readonly url: string }[]
  /** Bytes that the file must have to be committed. */
  readonly size?: number
  /** ISO 8601. What is not committed by then is deleted. */
  readonly expiresAt: string
}

/** A file that a storage node holds, to be committed. */
export interface StoredUpload {
  readonly upload: string
  /** The node's signed word for what it stored. */
  readonly receipt: string
  /** Bytes. */
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}
