/** What the processes of one node ask each other: there are things that only one of them can know. */
import type { EventEmitter } from 'node:events'

interface Question {
  readonly question: number
  readonly topic: string
  readonly about: string
}

interface Answer {
  readonly answered: number
  readonly value?: unknown
}

/** What the other process is told, by topic. */
export type Answers = Readonly<Record<string, (about: string) => unknown>>

export interface Talk {
  /** The other's answer; undefined where it has none, or has ended. */
  readonly ask: (topic: string, about?: string) => Promise<unknown>
  readonly close: () => void
}

/** Asks and answers the process at the other end of `peer`, a worker or the process that has us. */
export function talkTo(
  peer: EventEmitter,
  send: (message: object, sent: (err: Error | null) => void) => void,
  answers: Answers,
): Talk {
  const waiting = new Map<number, (value: unknown) => void>()
  let count = 0
  const settle = (id: number, value: unknown): void => {
    waiting.get(id)?.(value)
    waiting.delete(id)
  }
  const answer = async (topic: string, about: string): Promise<unknown> => answers[topic]?.(about)
  const onMessage = (message: Partial<Question & Answer>): void => {
    const { question, topic = '', about = '', answered, value } = message
    if (answered !== undefined) settle(answered, value)
    if (question === undefined) return
    void answer(topic, about)
      .catch(() => undefined)
      .then(found => send({ answered: question, value: found } satisfies Answer, () => {}))
  }
  const onEnd = (): void => {
    for (const id of waiting.keys()) settle(id, undefined)
  }
  peer.on('message', onMessage)
  peer.on('disconnect', onEnd)
  return {
    ask: (topic, about = '') =>
      new Promise(resolve => {
        const question: Question = { question: ++count, topic, about }
        waiting.set(count, resolve)
        send(question, err => {
          if (err) settle(question.question, undefined)
        })
      }),
    close() {
      peer.off('message', onMessage)
      peer.off('disconnect', onEnd)
    },
  }
}
