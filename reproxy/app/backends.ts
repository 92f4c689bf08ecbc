/**
 * The servers of one pool: which of them gets the next request, and which are away. One that could
 * not be reached is left out while others can, and is knocked at until it is back.
 */
import { connect } from 'node:net'
import { formatAddress } from '../../common/config.ts'
import { Gate } from '../upstream/gate.ts'
import type { Peer } from '../upstream/pool.ts'

export interface Backend {
  readonly peer: Peer
  /** HOST:PORT. */
  readonly name: string
  readonly gate: Gate
  readonly up: boolean
}

export interface BackendsOptions {
  readonly peers: readonly Peer[]
  readonly maxPerPeer: number
  readonly connectTimeoutMs: number
}

/** Milliseconds between two knocks at one that is away. */
const knockMs = 500

class Member implements Backend {
  readonly peer: Peer
  readonly name: string
  readonly gate: Gate
  timer: NodeJS.Timeout | undefined

  constructor(peer: Peer, limit: number) {
    this.peer = peer
    this.name = formatAddress(peer)
    this.gate = new Gate(limit)
  }

  get up(): boolean {
    return this.timer === undefined
  }
}

export class Backends {
  readonly #options: BackendsOptions
  readonly #members: readonly Member[]
  #turn = 0
  #closed = false

  constructor(options: BackendsOptions) {
    this.#options = options
    this.#members = options.peers.map(peer => new Member(peer, options.maxPerPeer))
  }

  get all(): readonly Backend[] {
    return this.#members
  }

  /** All of them in the order to try: those that are up first, the least busy before others. */
  order(): readonly Backend[] {
    if (this.#members.length < 2) return this.#members
    this.#turn = (this.#turn + 1) % this.#members.length
    const turned = [...this.#members.slice(this.#turn), ...this.#members.slice(0, this.#turn)]
    const load = ({ up, gate }: Backend): number => (up ? 0 : 1e9) + gate.used + gate.waiting
    return turned.sort((a, b) => load(a) - load(b))
  }

  /** It could not be reached. */
  lost(backend: Backend): void {
    const member = backend as Member
    if (!member.up || this.#closed) return
    const knock = (): void => {
      const socket = connect({ ...member.peer, timeout: this.#options.connectTimeoutMs })
      socket.on('timeout', () => socket.destroy())
      socket.on('error', () => {})
      socket.once('connect', () => this.found(member))
      socket.once('connect', () => socket.destroy())
      socket.once('close', () => {
        if (!member.up) member.timer = setTimeout(knock, knockMs).unref()
      })
    }
    member.timer = setTimeout(knock, knockMs).unref()
  }

  /** It answers. */
  found(backend: Backend): void {
    const member = backend as Member
    clearTimeout(member.timer)
    member.timer = undefined
  }

  /** Stops knocking. */
  close(): void {
    this.#closed = true
    for (const member of this.#members) this.found(member)
  }
}
