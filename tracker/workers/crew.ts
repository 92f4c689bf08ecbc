/** Those who do one job at a time: as many as are desired, replaced when they end by themselves. */
import { setMaxListeners } from 'node:events'
import type { Logger } from '../../common/log.ts'
import { startLoop, type Loop, type Worker } from './loop.ts'

/** Milliseconds that a member may go on with the pass under way before it is cut off. */
const graceMs = 10_000

interface Member extends Pick<Loop, 'wake' | 'stop' | 'done'> {
  /** Ends the pass under way as well. */
  abort(): void
  stopping: boolean
  /** It ends because fewer are desired. */
  expected: boolean
}

export interface CrewOptions {
  readonly name: string
  readonly log: Logger
  /** How many there are to be now; asked again at every `adjust`. */
  readonly target: () => number
  /** The number has changed. */
  readonly onCount: () => void
}

/** The members of one job. They are children to MogileFS's tools, and loops in this process here. */
export class Crew {
  /** How many somebody wants; what holds for now is the option `target`. */
  desired = 1
  /** How much its members have done. */
  sent = 0
  readonly #options: CrewOptions
  readonly #members = new Set<Member>()
  #start: (() => Member) | undefined
  #worker: Worker | undefined
  #closing = false

  constructor(options: CrewOptions) {
    this.#options = options
  }

  get count(): number {
    return this.#members.size
  }

  get queued(): number {
    return this.#worker?.queued ?? 0
  }

  /** Gives it its work: passes of `worker`, or none where others look at the count. */
  staff(worker?: Worker): void {
    this.#worker = worker
    this.#start = () => (worker ? this.#loop(worker) : idle())
    while (this.#members.size < this.#options.target()) this.#add(this.#start())
    this.#options.onCount()
  }

  wake(): void {
    for (const member of this.#members) member.wake()
  }

  /** Ends all members there are; as many as desired take their place. */
  restart(): void {
    for (const member of this.#staying()) this.#stop(member, false)
  }

  /** Starts or stops members until there are as many as there are to be. */
  adjust(): void {
    if (this.#closing || !this.#start) return
    const target = this.#options.target()
    const staying = this.#staying()
    for (const member of staying.slice(target)) this.#stop(member, true)
    const missing = target - staying.length
    if (missing <= 0) return
    const { name, log, onCount } = this.#options
    // Operators look for these words.
    log.info(`Job ${name} has only ${staying.length}, wants ${target}, making ${missing}.`)
    for (let n = 0; n < missing; n++) this.#add(this.#start())
    onCount()
  }

  /** Cuts all members off; resolves when they are gone. */
  async close(): Promise<void> {
    this.#closing = true
    for (const member of this.#members) {
      member.stop()
      member.abort()
    }
    await Promise.all([...this.#members].map(member => member.done))
  }

  #staying(): Member[] {
    return [...this.#members].filter(member => !member.stopping)
  }

  #stop(member: Member, expected: boolean): void {
    member.stopping = true
    member.expected = expected
    member.stop()
    const cut = setTimeout(() => member.abort(), graceMs)
    void member.done.then(() => clearTimeout(cut))
  }

  #add(member: Member): void {
    this.#members.add(member)
    void member.done.then(() => {
      this.#members.delete(member)
      if (this.#closing) return
      const { name, log, onCount } = this.#options
      const end = member.expected ? 'expected' : 'UNEXPECTED'
      log.info(`Child ${process.pid} (${name}) died: 0 (${end})`)
      // First, so that nobody takes a change of members for a job that nobody does.
      this.adjust()
      onCount()
    })
  }

  #loop(worker: Worker): Member {
    const cut = new AbortController()
    // Every request that a pass has under way listens to it.
    setMaxListeners(0, cut.signal)
    const counted: Worker = {
      name: worker.name,
      restMs: worker.restMs,
      pass: async (signal, log) => {
        const did = await worker.pass(signal, log)
        this.sent += did
        return did
      },
    }
    const loop = startLoop(counted, { signal: cut.signal, log: this.#options.log })
    return { ...loop, abort: () => cut.abort(), stopping: false, expected: false }
  }
}

/** A member that is there and does nothing. */
function idle(): Member {
  let stop = (): void => {}
  const done = new Promise<void>(resolve => {
    stop = resolve
  })
  return { wake() {}, stop, abort: stop, done, stopping: false, expected: false }
}
