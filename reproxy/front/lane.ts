/**
 * The short way of plain requests: connections are read here, without node's HTTP server, for as long
 * as every request on them is one that `plain-head.ts` reads; the first other one hands the connection
 * over, with all that it has sent. Node's server takes as much processor time for a request as all the
 * rest of the proxy.
 */
import type { Socket } from 'node:net'
import { takeReads } from '../../common/own-reads.ts'
import { plainAddress } from '../config/addresses.ts'
import { Cancel } from '../upstream/cancel.ts'
import { Deadlines, type Waited } from '../../common/deadlines.ts'
import type { ClientRequest } from './client-request.ts'
import { closeGently, isClosing } from './gentle-close.ts'
import { LaneSink } from './lane-sink.ts'
import { isLax, parsePlainHead, type PlainHead } from './plain-head.ts'
import { standIn, unknownMethod } from './unknown-method.ts'

export interface LaneOptions {
  readonly maxHeadBytes: number
  readonly times: () => { readonly requestHeadTimeoutMs: number; readonly keepAliveIdleMs: number }
  readonly draining: () => boolean
  /** Answers a request. Must not reject. */
  readonly serve: (client: ClientRequest) => Promise<void>
  /** Answers a connection that said nothing, or nothing good, and closes it. */
  readonly refuse: (socket: Socket, status: 400 | 408) => void
  /**
   * Takes a connection over; what it has sent so far is in its buffer. `method` is that of the first
   * request where `standIn` takes its place there.
   */
  readonly handOver: (socket: Socket, method?: string) => void
}

/** Bytes that may wait while a request is answered, before reading stops. */
const maxWaiting = 65_536

const emptyLine = Buffer.from('\r\n\r\n')

/** Where all connections are read into, one after the other. */
const scratch = Buffer.allocUnsafeSlow(65_536)

/** The connections that take the short way. */
export class Lanes {
  readonly #options: LaneOptions
  readonly #lanes = new Set<Lane>()
  readonly #deadlines = new Deadlines(100)

  constructor(options: LaneOptions) {
    this.#options = options
  }

  /** Serves a connection that was just accepted. */
  take(accepted: Socket): void {
    let lane: Lane | undefined
    const socket = takeReads(accepted, {
      buffer: () => scratch,
      onRead: size => lane?.receive(scratch.subarray(0, size)) ?? true,
    })
    if (!socket) {
      this.#options.handOver(accepted)
      return
    }
    const lanes = this.#lanes
    lane = new Lane(socket, this.#options, this.#deadlines, () => lanes.delete(lane as Lane))
    lanes.add(lane)
  }

  /** Ends those that wait for a request. */
  endIdle(): void {
    for (const lane of this.#lanes) lane.endIfIdle()
  }

  /** Cuts all. */
  destroy(): void {
    for (const lane of this.#lanes) lane.socket.destroy()
  }
}

class Lane implements Waited {
  readonly socket: Socket
  /** When the request that is waited for is to be there. */
  dueAt = Infinity
  readonly #options: LaneOptions
  readonly #deadlines: Deadlines
  readonly #onLeft: () => void
  readonly #peer: string
  /** Bytes received behind the request under way. */
  #waiting: Buffer[] = []
  #waitingBytes = 0
  /** The request under way. */
  #cancel: Cancel | undefined
  #sink: LaneSink | undefined
  #seenAnything = false
  #left = false

  constructor(socket: Socket, options: LaneOptions, deadlines: Deadlines, onLeft: () => void) {
    this.socket = socket
    this.#options = options
    this.#deadlines = deadlines
    this.#onLeft = onLeft
    this.#peer = plainAddress(socket.remoteAddress ?? '')
    socket.setNoDelay(true)
    this.#waitFor(options.times().requestHeadTimeoutMs)
    socket.on('end', this.#onEnd).on('close', this.#onClose)
    socket.on('error', this.#onError)
  }

  endIfIdle(): void {
    if (this.#cancel) return
    if (isClosing(this.socket)) this.socket.destroy()
    else this.socket.destroySoon()
  }

  /** Takes bytes that are gone when it returns. False stops the reading. */
  receive(bytes: Buffer): boolean {
    if (this.#left) return this.socket.push(Buffer.from(bytes))
    if (isClosing(this.socket)) return true
    this.#seenAnything = true
    if (!this.#cancel) {
      this.#serve(bytes)
      return !this.socket.isPaused()
    }
    this.#keep(bytes)
    if (this.#waitingBytes <= maxWaiting) return true
    this.socket.pause()
    return false
  }

  /** Begins the request that `bytes` begin with; they are gone afterwards. */
  #serve(bytes: Buffer): void {
    const { maxHeadBytes } = this.#options
    const headEnd = bytes.indexOf(emptyLine)
    const whole = headEnd !== -1 && headEnd <= maxHeadBytes
    const head = whole ? parsePlainHead(bytes.toString('latin1', 0, headEnd)) : undefined
    if (!head) {
      this.#handOver(bytes)
      return
    }
    if (bytes.length > headEnd + 4) this.#keep(bytes.subarray(headEnd + 4))
    const cancel = new Cancel()
    this.#cancel = cancel
    this.#deadlines.lift(this)
    this.#options.serve(this.#request(head, cancel)).then(
      () => this.#served(),
      () => this.socket.destroy(),
    )
  }

  #request(head: PlainHead, cancel: Cancel): ClientRequest {
    const { socket } = this
    const { method, target, version, fields } = head
    return {
      method,
      target,
      version,
      fields,
      socket,
      peer: this.#peer,
      body: undefined,
      cancel,
      refusal: undefined,
      upgrade: undefined,
      respond: options => {
        const { keepAliveIdleMs } = this.#options.times()
        return (this.#sink = new LaneSink(socket, head, keepAliveIdleMs, options))
      },
      discardBody: () => {},
    }
  }

  /** Goes on after a request. */
  #served(): void {
    const { socket } = this
    const sink = this.#sink
    const cancel = this.#cancel
    this.#cancel = undefined
    this.#sink = undefined
    if (!sink?.complete) {
      cancel?.abort() // whoever still works for it
      if (!isClosing(socket)) socket.destroy() // else it is about to be reset
      return
    }
    if (!sink.keepAlive || this.#options.draining()) {
      if (this.#waiting.length > 0) closeGently(socket)
      socket.destroySoon()
      return
    }
    if (this.#waiting.length === 0) {
      if (!socket.destroyed) this.#waitFor(this.#options.times().keepAliveIdleMs)
      return
    }
    const bytes = Buffer.concat(this.#waiting)
    this.#waiting = []
    this.#waitingBytes = 0
    if (socket.isPaused()) socket.resume()
    this.#serve(bytes)
  }

  /** Copies bytes to be used later. */
  #keep(bytes: Buffer): void {
    this.#waiting.push(Buffer.from(bytes))
    this.#waitingBytes += bytes.length
  }

  /** Leaves the connection to node's server, with what it has sent. */
  #handOver(bytes: Buffer): void {
    if (isLax(bytes)) {
      this.#refuse(400)
      return
    }
    const { socket } = this
    const method = unknownMethod(bytes)
    const sent = method
      ? Buffer.concat([Buffer.from(standIn), bytes.subarray(method.length)])
      : Buffer.from(bytes)
    this.#leave()
    socket.unshift(sent)
    this.#options.handOver(socket, method)
    socket.resume()
  }

  #refuse(status: 400 | 408): void {
    const { socket } = this
    this.#leave()
    socket.on('error', () => socket.destroy())
    this.#options.refuse(socket, status)
  }

  #leave(): void {
    const { socket } = this
    this.#left = true
    this.#deadlines.lift(this)
    socket.off('end', this.#onEnd).off('close', this.#onClose).off('error', this.#onError)
    this.#onLeft()
  }

  /** A client that sends no more has left: nobody may be waiting for the answer. */
  readonly #onEnd = (): void => {
    this.#cancel?.abort()
    this.socket.destroy()
  }

  readonly #onClose = (): void => {
    if (!this.#sink?.complete) this.#cancel?.abort()
    this.#deadlines.lift(this)
    this.#onLeft()
  }

  readonly #onError = (): void => {} // 'close' follows

  #waitFor(ms: number): void {
    this.dueAt = performance.now() + ms
    this.#deadlines.set(this)
  }

  /** The request has not come in time. */
  late(): void {
    const { socket } = this
    if (isClosing(socket)) return
    if (this.#seenAnything) socket.destroy()
    else this.#refuse(408)
  }
}
