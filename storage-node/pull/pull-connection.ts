/**
 * A connection for GET requests to another node, read into buffers of ours like uploads: through a
 * general HTTP client a copy costs four times the processor time of a PUT. Whatever is not a plain
 * answer with the whole file ends the connection.
 */
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { urlAddress } from '../../common/address.ts'
import { CodedError } from '../../common/errors.ts'
import type { Buffers } from '../writing/buffers.ts'
import { IncomingBody } from '../lane/inflow.ts'

/** Something to fetch, and who waits for it. */
export interface Fetch {
  /** With its query. */
  readonly path: string
  /** Nobody takes pieces of the body before all of it is there: it is read on, whatever waits. */
  readonly held: boolean
  /** Told when the answer's head is there; `body` comes by itself, unless it is called off. */
  readonly begun: (body: IncomingBody, callOff: () => void) => void
  /** Told when the last byte is there. */
  readonly complete: (body: IncomingBody) => void
  /** Nothing more will come. */
  readonly fail: (err: CodedError) => void
  /** Asked once already, on a connection that was closed under it. */
  retried: boolean
}

/** How a connection ended. */
interface Ending {
  /** As connections do that nobody needs any more. */
  readonly isOrderly?: boolean
  readonly code?: 'source_failed' | 'source_refused'
}

export interface PullConnectionOptions {
  readonly origin: URL
  readonly buffers: Buffers
  /** There is room for another one. */
  readonly onRoom: () => void
  /** It is over; these are still to be asked for. */
  readonly onEnd: (unanswered: readonly Fetch[]) => void
}

/** Milliseconds until the connection stands, the answer begins, its next byte comes; idle ones stay. */
const connectMs = 1_000
const answerMs = 5_000
const gapMs = 10_000
const idleMs = 4_000

const maxHeadBytes = 16 * 1024

/** Where bytes land that are no body; read in turn by all. */
const scratch = Buffer.allocUnsafeSlow(64 * 1024)

export class PullConnection {
  readonly #options: PullConnectionOptions
  readonly #socket: Socket
  /** In the order in which they are answered. */
  #fetches: Fetch[] = []
  #unsent = ''
  #head = ''
  #body: IncomingBody | undefined
  /** It has answered once; and goes on. */
  #hasAnswered = false
  #isKept = false
  #ended = false

  constructor(options: PullConnectionOptions) {
    this.#options = options
    const isTls = options.origin.protocol === 'https:'
    const address = { ...urlAddress(options.origin), noDelay: true }
    this.#socket = isTls
      ? connectTls({ ...address, servername: address.host }).on('data', (bytes: Buffer) => {
          this.#take(bytes)
          if (this.#isFull) this.#socket.pause()
        })
      : connectTcp({
          ...address,
          onread: {
            buffer: () => this.#body?.room() ?? scratch,
            callback: (size: number, into: unknown) => this.#onRead(size, into as Buffer),
          },
        })
    this.#socket
      .setTimeout(connectMs)
      .once(isTls ? 'secureConnect' : 'connect', () => this.#socket.setTimeout(answerMs))
      .on('timeout', () => {
        // One that waits for our disk owes nothing.
        if (!this.#isFull) this.#end('no answer in time')
      })
      .on('error', (err: Error) => this.#end(err.message))
      .on('close', () => this.#end('it broke off', { isOrderly: this.#isKept }))
  }

  /** How many are under way. */
  get load(): number {
    return this.#ended ? Number.POSITIVE_INFINITY : this.#fetches.length
  }

  ask(fetch: Fetch): void {
    if (this.#fetches.length === 0 && !this.#socket.connecting) this.#socket.setTimeout(answerMs)
    this.#socket.ref()
    this.#fetches.push(fetch)
    if (this.#unsent === '') setImmediate(() => this.#flush())
    const { host } = this.#options.origin
    this.#unsent += `GET ${fetch.path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`
  }

  close(): void {
    this.#end('closed')
  }

  #flush(): void {
    if (!this.#ended) this.#socket.write(this.#unsent, 'latin1')
    this.#unsent = ''
  }

  /** False stops the reading until it is resumed. */
  #onRead(size: number, into: Buffer): boolean {
    const body = this.#body
    if (body && into !== scratch) {
      body.filled(size)
      this.#checkComplete(body)
    } else {
      this.#take(into.subarray(0, size))
    }
    return !this.#isFull
  }

  /** More of a body is there than is written yet. */
  get #isFull(): boolean {
    return this.#body?.full === true && this.#fetches[0]?.held === false
  }

  /** Takes bytes that are gone when it returns. */
  #take(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length && !this.#ended) {
      if (this.#body) {
        at += this.#body.take(bytes.subarray(at))
        this.#checkComplete(this.#body)
        continue
      }
      const before = this.#head.length
      this.#head += bytes.toString('latin1', at)
      const end = this.#head.indexOf('\r\n\r\n', Math.max(0, before - 3)) + 4
      if (end < 4) {
        if (this.#head.length > maxHeadBytes) this.#end('no HTTP answer')
        return
      }
      at += end - before
      const head = this.#head.slice(0, end)
      this.#head = ''
      this.#onHead(head)
    }
  }

  #onHead(head: string): void {
    const [fetch] = this.#fetches
    const [, minor, status] = /^HTTP\/1\.([01]) (\d{3})[ \r]/.exec(head) ?? []
    this.#hasAnswered ||= status !== undefined
    const lengths = [...head.matchAll(/\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*(?=\r\n)/gi)]
    if (
      !fetch ||
      status !== '200' ||
      lengths.length !== 1 ||
      /\r\ntransfer-encoding:/i.test(head)
    ) {
      // Where it points to is nobody's source.
      const code = status?.startsWith('3') ? 'source_refused' : 'source_failed'
      this.#end(`it answered ${status ?? 'no HTTP'}`, { code })
      return
    }
    // Servers of HTTP/1.0 (Perlbal) need not take the next request before they have answered.
    this.#isKept = minor === '1' && !/\r\nconnection:[^\r]*close/i.test(head)
    this.#socket.setTimeout(gapMs)
    const body = new IncomingBody({
      buffers: this.#options.buffers,
      length: Number(lengths[0]?.[1]),
      resume: () => this.#socket.resume(),
    })
    this.#body = body
    fetch.begun(body, () => this.#end('it is not wanted'))
    this.#checkComplete(body)
  }

  #checkComplete(body: IncomingBody): void {
    if (!body.complete || this.#body !== body) return
    this.#body = undefined
    this.#fetches.shift()?.complete(body)
    if (!this.#isKept) {
      this.#end('it was closed', { isOrderly: true })
      return
    }
    this.#socket.setTimeout(this.#fetches.length > 0 ? answerMs : idleMs)
    // An idle connection keeps no process alive.
    if (this.#fetches.length === 0) this.#socket.unref()
    this.#options.onRoom()
  }

  /** The first that is under way has failed; or none, when a kept connection was closed in between. */
  #end(why: string, { isOrderly = false, code = 'source_failed' }: Ending = {}): void {
    if (this.#ended) return
    this.#ended = true
    this.#socket.destroy()
    const [first, ...others] = this.#fetches.splice(0)
    const isStale = isOrderly && !this.#body && first?.retried === false
    this.#body?.fail()
    this.#body = undefined
    const failed = new CodedError(code, `the source failed: ${why}`)
    if (isStale) first.retried = true
    else first?.fail(failed)
    // Who has never answered will not answer the others either.
    if (!this.#hasAnswered) for (const fetch of others.splice(0)) fetch.fail(failed)
    this.#options.onEnd(isStale ? [first, ...others] : others)
  }
}
