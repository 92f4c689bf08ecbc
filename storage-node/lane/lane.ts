/**
 * The short way of GET, HEAD and PUT: connections are read here, without Node's HTTP server, for as
 * long as every request on them is one that `request-head.ts` reads; the first other one hands the
 * connection over, with all that it has sent. A GET of 4 KiB takes 9 µs of processor time this way,
 * through `node:http` 18, through fastify 40. Only successes are answered here; what fails before
 * its answer began is handed over too, and fails again where refusals are worded.
 */
import type { Socket } from 'node:net'
import { httpDate } from '../../common/http-date.ts'
import { CodedError, isCoded } from '../../common/errors.ts'
import { answerClientError, notePassed, refuse } from '../../common/http-guard.ts'
import type { Logger } from '../../common/log.ts'
import { checkGrant, type HostKeys } from '../../common/signing.ts'
import { fileAnswer, storedFields, type Fields } from '../http/answer.ts'
import { onePieceBytes, type Buffers } from '../writing/buffers.ts'
import type { Devices } from '../device/devices.ts'
import { Inflow, type IncomingBody } from './inflow.ts'
import { parseRange } from '../http/range.ts'
import { parseHotHead, type HotRequest } from './request-head.ts'
import { drained } from '../http/send.ts'
import type { Uploads } from '../http/uploads.ts'

export interface LaneOptions {
  readonly devices: Devices
  readonly keys: readonly HostKeys[]
  readonly open: boolean
  readonly buffers: Buffers
  readonly uploads: Uploads
  readonly log: Logger
  /** Counts a finished request. */
  readonly count: (method: string, status: number, ms: number) => void
  /** Takes a connection over; what it has sent so far is in its buffer. */
  readonly handOver: (socket: Socket) => void
}

/** Milliseconds until the first byte of a connection, and between two requests. */
const firstByteMs = 10_000
const idleMs = 75_000

/** Bytes that may wait while a request is answered or a piece written, before reading stops. */
const maxWaiting = 64 * 1024

const reasons: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  206: 'Partial Content',
}

/** The connections that take the short way. */
export class Lanes {
  readonly #options: LaneOptions
  readonly #lanes = new Set<Lane>()
  #closing = false

  constructor(options: LaneOptions) {
    this.#options = options
  }

  /** Serves a connection that was just accepted. */
  take(accepted: Socket): void {
    const { buffers, handOver } = this.#options
    let lane: Lane | undefined
    const inflow = Inflow.of(accepted, { buffers, onBytes: bytes => lane?.receive(bytes) })
    if (!inflow) {
      handOver(accepted)
      return
    }
    lane = new Lane(inflow, this.#options, () => this.#closing)
    const taken = lane
    this.#lanes.add(taken)
    taken.onLeft = () => this.#lanes.delete(taken)
  }

  /** Ends idle connections now, the others with their answer. */
  close(): void {
    this.#closing = true
    for (const lane of this.#lanes) lane.endIfIdle()
  }

  /** Cuts all that is left. */
  cut(): void {
    for (const lane of this.#lanes) lane.cut()
  }
}

class Lane {
  onLeft: () => void = () => {}
  readonly #inflow: Inflow
  readonly #socket: Socket
  readonly #options: LaneOptions
  readonly #isClosing: () => boolean
  /** Bytes received behind the request under way. */
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #busy = false
  #ended = false
  #seenAnything = false

  constructor(inflow: Inflow, options: LaneOptions, isClosing: () => boolean) {
    const { socket } = inflow
    this.#inflow = inflow
    this.#socket = socket
    this.#options = options
    this.#isClosing = isClosing
    socket.setTimeout(firstByteMs)
    socket.on('end', this.#onEnd)
    socket.on('close', this.#onClose)
    socket.on('error', this.#onError)
    socket.on('timeout', this.#onTimeout)
  }

  endIfIdle(): void {
    if (!this.#busy) this.#socket.destroy()
  }

  cut(): void {
    this.#socket.destroy()
  }

  /** Takes bytes that are gone when it returns. */
  receive(bytes: Buffer): void {
    if (!this.#seenAnything) {
      this.#seenAnything = true
      this.#socket.setTimeout(idleMs)
    }
    if (!this.#busy) {
      void this.#serve(bytes)
      return
    }
    this.#waiting.push(Buffer.from(bytes))
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes > maxWaiting) this.#socket.pause()
  }

  readonly #onEnd = (): void => {
    this.#ended = true
    this.#inflow.end()
    if (!this.#busy) this.#socket.end()
  }

  readonly #onClose = (): void => {
    this.#ended = true
    this.#inflow.end()
    this.onLeft()
  }

  readonly #onError = (): void => {} // 'close' follows

  readonly #onTimeout = (): void => {
    if (this.#busy) return // bodies and answers have time-outs of their own
    if (this.#seenAnything) this.#socket.destroy()
    else answerClientError(timedOut(), this.#socket)
  }

  /** Answers the requests that are there, one after another. `bytes` are gone at the first wait. */
  async #serve(bytes: Buffer): Promise<void> {
    this.#busy = true
    let rest: Buffer | undefined = bytes
    // What follows the first request is copied once, however many there are.
    let isOurs = false
    while (rest) {
      const headEnd: number = rest.indexOf('\r\n\r\n') + 4
      const head: string = headEnd < 4 || headEnd > 8192 ? '' : rest.toString('latin1', 0, headEnd)
      const request: HotRequest | undefined = parseHotHead(head)
      if (!request) {
        this.#keepBehind(rest, isOurs)
        return this.#handOver('')
      }
      const startedAt = performance.now()
      const { method, replica, length } = request
      let status: number | undefined
      if (method === 'PUT') {
        const used: number = Math.min(rest.length, headEnd + length)
        const body = this.#inflow.beginBody(rest.subarray(headEnd, used), length)
        this.#keepBehind(rest.subarray(used), isOurs)
        status = await this.#put(request, head, body)
      } else {
        this.#keepBehind(rest.subarray(headEnd), isOurs)
        status = await this.#get(request, head)
      }
      if (status === undefined) return
      const ms = performance.now() - startedAt
      this.#options.count(method, status, ms)
      const { devid, fid } = replica
      this.#options.log.debug({ method, devid, fid, status, ms }, 'request')
      if (!request.keepAlive || this.#isClosing()) {
        this.#socket.end()
        return
      }
      if (this.#socket.writableNeedDrain) await drained(this.#socket)
      if (this.#socket.destroyed) return
      rest = this.#takeWaiting()
      isOurs = true
    }
    this.#busy = false
    if (this.#ended) this.#socket.end()
  }

  /** The status, or undefined when this lane has ended. */
  async #get(request: HotRequest, headText: string): Promise<number | undefined> {
    const { devices, buffers, log } = this.#options
    const { devid } = request.replica
    let begun = false
    try {
      this.#authorize(request, 'GET')
      const device = devices.getNow(devid) ?? (await devices.get(devid))
      const file = device.openNow(request.path) ?? (await device.open(request.path))
      try {
        const range = parseRange(request.range, file.size)
        if (range === 'unsatisfiable') return this.#handOver(headText)
        const { status, fields } = fileAnswer(file, range)
        begun = true
        const head = this.#head(status, fields, request)
        const start = range?.first ?? 0
        const length = range ? range.last - start + 1 : file.size
        if (request.method === 'HEAD' || length === 0) {
          this.#socket.write(head, 'latin1')
          return status
        }
        begun = false
        await device.send(this.#socket, buffers, { file, start, length }, () => {
          begun = true
          return head
        })
        return status
      } finally {
        device.release(file)
      }
    } catch (err) {
      if (!begun) return this.#handOver(headText)
      log.error({ err, devid, fid: request.replica.fid }, 'read failed in mid-body')
      return undefined
    }
  }

  async #put(
    request: HotRequest,
    headText: string,
    body: IncomingBody,
  ): Promise<number | undefined> {
    const { devices, keys, uploads } = this.#options
    const { replica, path, length } = request
    let device
    let signed
    try {
      signed = this.#authorize(request, 'PUT')
      device = devices.getNow(replica.devid) ?? (await devices.get(replica.devid))
      await device.checkWritable(length)
    } catch {
      return this.#handOver(headText, body)
    }
    const together = uploads.together && length <= onePieceBytes
    try {
      const written = await uploads.run(async () => {
        const whole = together ? await body.whole() : undefined
        return device.write(path, whole ? [whole] : body.pieces(), {
          size: length,
          // The content of a fid never changes; without signatures we are as lenient as MogileFS.
          replace: !signed,
          pieceSize: uploads.pieceSize,
          whole,
        })
      })
      const fields = storedFields(written, keys[0], replica)
      fields['Content-Length'] = '0'
      this.#socket.write(this.#head(201, fields, request), 'latin1')
      return 201
    } catch (err) {
      const error = isCoded(err) ? err : new CodedError('failure', 'internal error')
      if (!isCoded(err)) this.#options.log.error({ err, ...replica }, 'request failed')
      this.#options.count('PUT', error.statusCode, 0)
      this.#refuse(error)
      return undefined
    } finally {
      body.discard()
    }
  }

  /** True when the request is signed, false when it may go without; throws bad_token, token_expired. */
  #authorize({ replica, token }: HotRequest, method: 'GET' | 'PUT'): boolean {
    const { keys, open } = this.#options
    if (token === undefined && open) return false
    const grant = { method, devid: replica.devid, object: String(replica.fid) }
    checkGrant(keys, token ?? '', grant, Date.now() / 1000)
    return true
  }

  #head(status: number, fields: Fields, { keepAlive, oldClient }: HotRequest): string {
    let text = `HTTP/1.1 ${status} ${reasons[status]}\r\n`
    for (const name in fields) text += `${name}: ${fields[name]}\r\n`
    text += `Date: ${httpDate()}\r\n`
    const close = !keepAlive || this.#isClosing()
    return `${text}${close ? 'Connection: close\r\n' : oldClient ? 'Connection: keep-alive\r\n' : ''}\r\n`
  }

  /** Keeps what is behind a request until that is answered; copied, unless the bytes are ours. */
  #keepBehind(bytes: Buffer, isOurs: boolean): void {
    if (bytes.length === 0) return
    this.#waiting.unshift(isOurs ? bytes : Buffer.from(bytes))
    this.#waitingBytes += bytes.length
  }

  /** All that is there to go on with; undefined when that is nothing. */
  #takeWaiting(): Buffer | undefined {
    if (this.#waiting.length === 0) return undefined
    const [first] = this.#waiting
    const all = this.#waiting.length === 1 ? first : Buffer.concat(this.#waiting)
    this.#waiting = []
    this.#waitingBytes = 0
    if (this.#socket.isPaused()) this.#socket.resume()
    return all
  }

  /** Leaves a request to Node's server: its head, what has come of its body, and what is behind. */
  #handOver(head: string, body?: IncomingBody): undefined {
    const came = body ? [body.received()] : []
    const rest = Buffer.concat([Buffer.from(head, 'latin1'), ...came, ...this.#waiting])
    body?.discard()
    const socket = this.#socket
    this.#leave()
    this.#inflow.handOver()
    if (socket.destroyed) return
    notePassed(socket, rest, true)
    socket.unshift(rest)
    this.#options.handOver(socket)
    socket.resume()
    // It has missed that the client sends no more.
    if (this.#ended) setImmediate(() => socket.emit('end'))
  }

  #refuse(error: CodedError): void {
    this.#leave()
    this.#inflow.drop()
    if (this.#socket.destroyed) return
    this.#socket.on('error', this.#onError)
    this.#socket.resume()
    refuse(this.#socket, error)
  }

  #leave(): void {
    const socket = this.#socket
    socket.setTimeout(0)
    socket.off('end', this.#onEnd)
    socket.off('close', this.#onClose)
    socket.off('error', this.#onError)
    socket.off('timeout', this.#onTimeout)
    this.onLeft()
  }
}

const timedOut = (): Error =>
  Object.assign(new Error('no request came'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' })
