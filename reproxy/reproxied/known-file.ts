/** Serves a file of known size that is at hand: in memory, or on a disk of this machine. */
import type { ClientSink } from '../front/client-sink.ts'
import { planRanges, type RangeSpec, type Span } from '../http/range.ts'
import { layOut } from './multipart.ts'
import type { FileStart } from './relay.ts'

export interface KnownFile {
  readonly size: number
  /** Sends these bytes. False when they cannot be had completely. Throws ClientGone. */
  send(span: Span, sink: ClientSink): Promise<boolean>
  /** All of it, where it is in memory. */
  readonly bytes?: Buffer
}

export interface KnownFileJob {
  readonly method: 'GET' | 'HEAD'
  readonly specs: readonly RangeSpec[] | undefined
  /** Content-Type of the file. */
  readonly type: string | undefined
  readonly sink: ClientSink
  /** Gives the client its head. */
  readonly begin: (start: FileStart) => void
}

/** Serves it. `cut`: the response had begun and cannot be completed. Throws ClientGone. */
export async function serveKnown(file: KnownFile, job: KnownFileJob): Promise<'done' | 'cut'> {
  const { method, specs, type, sink, begin } = job
  const { size } = file
  const plan = planRanges(specs, size)
  if (plan.kind === 'none') {
    begin({ kind: 'unsatisfiable', size })
  } else if (plan.kind === 'whole') {
    begin({ kind: 'whole', length: size })
    if (method === 'GET' && file.bytes) {
      await sink.end(file.bytes)
      return 'done'
    }
    if (method === 'GET' && size > 0 && !(await file.send({ first: 0, last: size - 1 }, sink))) {
      return 'cut'
    }
  } else if (plan.spans.length === 1) {
    const [span] = plan.spans as [Span]
    begin({ ...span, kind: 'part', length: span.last - span.first + 1, size })
    if (!(await file.send(span, sink))) return 'cut'
  } else {
    const { heads, tail, ...start } = layOut(plan.spans, size, type)
    begin({ kind: 'parts', ...start })
    for (const [i, span] of plan.spans.entries()) {
      await sink.write(heads[i] as Buffer)
      if (!(await file.send(span, sink))) return 'cut'
    }
    await sink.write(tail)
  }
  await sink.end()
  return 'done'
}

/** A file in memory. */
export const fileInMemory = (body: Buffer): KnownFile => ({
  size: body.length,
  bytes: body,
  async send({ first, last }, sink) {
    await sink.write(body.subarray(first, last + 1))
    return true
  },
})
