/**
 * One connection for HEAD requests, several of them under way at once where the server keeps
 * connections (RFC 9112 §9.3.2). What is asked in one turn of the event loop is one write.
 */
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { urlAddress } from '../common/address.ts'
import type { Target } from './storage-http.ts'

export interface HeadAnswer {
  readonly statusCode: number
  /** The Content-Length field, or what its absence stands for. */
  readonly contentLength: string | undefined
}

/** A question under way, and who waits for its answer. */
export interface Question {
  readonly path: string
  /** Asked once already, on a connection that was closed under it. */
  retried: boolean
  readonly answer: (answer: HeadAnswer) => void
  readonly fail: (err: unknown) => void
}

export interface HeadConnectionOptions {
  readonly target: Pick<Target, 'origin' | 'who'>
  /** Milliseconds until the connection stands. */
  readonly connectMs: number
  /** Milliseconds without a byte while an answer is due. */
  readonly answerMs: number
  /** There is room for another question. */
  readonly onRoom: () => void
  /** The connection is gone; these were not answered through no fault of their own. */
  readonly onEnd: (unanswered: readonly Question[]) => void
}

/** Questions under way at once: one that the disk holds up holds up the others. */
const maxUnderWay = 16

/** A connection without questions is closed after so many milliseconds, before most servers do. */
const idleMs = 4_000

const maxHeadBytes = 16 * 1024

/** More than any server sends. */
const maxInterim = 16

export class HeadConnection {
  readonly #options: HeadConnectionOptions
  readonly #socket: Socket
  /** In the order in which they are answered. */
  #questions: Question[] = []
  #unsent = ''
  #received = ''
  /** The server has answered and goes on: it is asked more than one thing at a time. */
  #isKept = false
  /** Answers before the answer (1xx) that came in a row. */
  #interim = 0
  #ended = false

  constructor(options: HeadConnectionOptions) {
    this.#options = options
    const origin = new URL(options.target.origin)
    const isTls = origin.protocol === 'https:'
    const address = { ...urlAddress(origin), noDelay: true }
    this.#socket = isTls
      ? connectTls({ ...address, servername: address.host })
      : connectTcp(address)
    this.#socket
      .setTimeout(options.connectMs)
      .setEncoding('latin1')
      .once(isTls ? 'secureConnect' : 'connect', () => this.#socket.setTimeout(options.answerMs))
      .on('data', (text: unknown) => this.#onText(text as string))
      .on('timeout', () => this.#onTimeout())
      .on('error', (err: Error) => this.#end(err))
      .on('close', () => this.#end(Object.assign(new Error('closed'), { code: 'ECONNRESET' })))
  }

  get hasRoom(): boolean {
    return !this.#ended && this.#questions.length < (this.#isKept ? maxUnderWay : 1)
  }

  /** Sends a question; only where there is room. */
  ask(question: Question): void {
    if (this.#questions.length === 0) this.#socket.ref().setTimeout(this.#patience())
    this.#questions.push(question)
    if (this.#unsent === '') setImmediate(() => this.#flush())
    this.#unsent += `HEAD ${question.path} HTTP/1.1\r\nHost: ${this.#options.target.who}\r\n\r\n`
  }

  close(): void {
    this.#end(new Error('closed'), true)
  }

  #patience(): number {
    const { connectMs, answerMs } = this.#options
    return this.#socket.connecting ? connectMs : answerMs
  }

  #flush(): void {
    if (!this.#ended) this.#socket.write(this.#unsent, 'latin1')
    this.#unsent = ''
  }

  #onText(text: string): void {
    this.#received += text
    let at = 0
    for (let end; (end = this.#received.indexOf('\r\n\r\n', at)) >= 0; at = end + 4) {
      if (!this.#onHead(this.#received.slice(at, end + 2))) return
    }
    this.#received = this.#received.slice(at)
    const isIdle = this.#questions.length === 0
    if (this.#received.length > maxHeadBytes || (isIdle && this.#received !== '')) {
      this.#end(new Error('no HTTP answer'))
      return
    }
    // An idle connection keeps no process alive.
    if (isIdle) this.#socket.unref().setTimeout(idleMs)
    this.#options.onRoom()
  }

  /** False when it was the connection's last. */
  #onHead(head: string): boolean {
    const [, minor, status] = /^HTTP\/1\.([01]) ([1-5]\d\d)[ \r]/.exec(head) ?? []
    const statusCode = Number(status)
    if (statusCode < 200 && ++this.#interim < maxInterim) return true
    this.#interim = 0
    const question = statusCode >= 200 ? this.#questions.shift() : undefined
    if (!question) {
      this.#end(new Error('no HTTP answer'))
      return false
    }
    const told = /\r\ncontent-length:[ \t]*([^\r]*?)[ \t]*\r\n/i.exec(head)?.[1]
    // lighttpd leaves it out where the file is empty.
    const contentLength = told ?? (/\r\nserver:[ \t]*lighttpd/i.test(head) ? '0' : undefined)
    question.answer({ statusCode, contentLength })
    const connection = /\r\nconnection:([^\r]*)\r\n/i.exec(head)?.[1] ?? ''
    this.#isKept = minor === '1' ? !/close/i.test(connection) : /keep-alive/i.test(connection)
    if (!this.#isKept) this.#end(new Error('closed by the server'), true)
    return this.#isKept
  }

  #onTimeout(): void {
    const what = this.#socket.connecting ? 'no connection in time' : 'no answer in time'
    this.#end(new Error(what))
  }

  /** The first question has failed with `err`, unless `isOrderly`; the others were not looked at. */
  #end(err: Error & { code?: string }, isOrderly = false): void {
    if (this.#ended) return
    this.#ended = true
    this.#socket.destroy()
    const unanswered = this.#questions
    this.#questions = []
    const [first] = unanswered
    if (first && !isOrderly) {
      // A server may close an idle connection in the moment it is used again (RFC 9112 §9.3.1).
      const wasClosed = this.#isKept && (err.code === 'ECONNRESET' || err.code === 'EPIPE')
      if (wasClosed && !first.retried) {
        first.retried = true
      } else {
        unanswered.shift()
        first.fail(err)
      }
    }
    this.#options.onEnd(unanswered)
  }
}
