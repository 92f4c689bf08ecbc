import { mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { until } from '../helpers/until.ts'
import { startDaemon } from './daemon.ts'
import { filesBelow, secret, send, signed, startNode, type TestNode } from './node.ts'

const path = (fid: number): string => replicaPath({ devid: 1, fid })
const bytes = 'the new bytes'

/** What a request that is cut off at one of its steps may leave. */
interface Flow {
  readonly what: string
  readonly method: 'PUT' | 'COPY' | 'DELETE'
  /** As a line among others. */
  readonly line?: boolean
  /** In their order. */
  readonly steps: readonly string[]
  /** From this step on the file is as the request wants it. */
  readonly done: string
  readonly before?: string
  /** Undefined: there is none. */
  readonly after: string | undefined
  /** What has come in parts before: of a file that is complete and gets its name, or of its beginning. */
  readonly parts?: string
  readonly signed?: boolean
  readonly body?: string
  readonly range?: string
}

const naming = ['put: named', 'put: name flushed']
const whole = ['put: created', 'put: written', 'put: flushed', ...naming]
const put = { method: 'PUT', steps: whole, done: 'put: named', after: bytes, body: bytes } as const
const last = {
  ...put,
  steps: ['part: opened', 'part: written', 'part: noted', 'part: flushed', ...naming],
  parts: bytes.slice(0, 8),
  body: bytes.slice(8),
  range: `8-12/13`,
}
const deletion = {
  method: 'DELETE',
  steps: ['delete: begun', 'delete: unlinked', 'delete: flushed'],
  done: 'delete: unlinked',
  after: undefined,
} as const

const flows: readonly Flow[] = [
  { what: 'PUT', ...put },
  { what: 'PUT over an old file', ...put, before: 'old' },
  { what: 'signed PUT', ...put, signed: true },
  { what: 'COPY', method: 'COPY', steps: whole, done: 'put: named', after: bytes },
  {
    what: 'COPY in a line',
    method: 'COPY',
    line: true,
    steps: whole,
    done: 'put: named',
    after: bytes,
  },
  { what: 'last part', ...last },
  { what: 'last part over an old file', ...last, before: 'old' },
  { what: 'signed last part', ...last, signed: true },
  {
    what: 'question after the last part',
    ...last,
    steps: ['part: flushed', ...naming],
    parts: bytes,
    body: '',
    range: '*/13',
  },
  {
    what: 'first part',
    ...put,
    steps: ['part: opened', 'part: written', 'part: noted'],
    done: 'never',
    body: bytes.slice(0, 8),
    range: '0-7/13',
  },
  {
    what: 'last part before the first',
    ...put,
    steps: ['part: opened', 'part: written', 'part: noted'],
    done: 'never',
    body: bytes.slice(8),
    range: '8-12/13',
  },
  {
    what: 'part of a file without a known end',
    ...put,
    steps: ['put: created', 'put: written', 'part: received', 'part: in place'],
    done: 'part: in place',
    before: bytes.slice(0, 8),
    body: bytes.slice(8),
    range: '8-12/*',
  },
  { what: 'DELETE', ...deletion, before: 'old' },
  { what: 'DELETE in a line', ...deletion, line: true, before: 'old' },
  { what: 'DELETE beside parts', ...deletion, before: 'old', parts: bytes },
]

interface Cut extends Flow {
  readonly fid: number
  readonly step: string
}

const steps = [...new Set(flows.flatMap(flow => flow.steps))]
const cuts: readonly Cut[] = steps.flatMap((step, s) =>
  flows.flatMap((flow, f) =>
    flow.steps.includes(step) ? [{ ...flow, step, fid: s * 100 + f + 1 }] : [],
  ),
)

const isDone = ({ steps: all, step, done }: Cut): boolean =>
  all.includes(done) && all.indexOf(step) >= all.indexOf(done)

async function store(node: TestNode, { fid, before, parts }: Cut): Promise<void> {
  const file = join(node.root, path(fid))
  mkdirSync(dirname(file), { recursive: true })
  if (before !== undefined) writeFileSync(file, before)
  if (parts === bytes) {
    writeFileSync(join(node.root, 'dev1', '.tmp', `${basename(file)}.part`), parts)
  } else if (parts !== undefined) {
    const headers = { 'content-range': `bytes 0-${parts.length - 1}/${bytes.length}` }
    await node.send('PUT', path(fid), { body: parts, headers })
  }
}

const target = ({ fid, signed: withToken }: Flow & { fid: number }): string =>
  withToken ? signed('PUT', { devid: 1, fid }) : path(fid)

/** Sends requests that all stop at `step`, and kills the node there. */
async function killAt(
  t: Test,
  { root, step, from }: { root: string; step: string; from: number },
): Promise<void> {
  const here = cuts.filter(cut => cut.step === step)
  const env = { OMG_TEST_PAUSE_AT: step, OMG_STORAGE_NODE_SECRET: secret }
  const node = await startDaemon(t, root, env, ['--sources', `127.0.0.1:${from}`])
  let paused = 0
  node.child.on('message', message => {
    if ((message as { pausedAt?: string }).pausedAt === step) paused++
  })
  for (const cut of here) {
    const { method, range, fid, line } = cut
    const source = `http://127.0.0.1:${from}${replicaPath({ devid: 2, fid })}`
    const text = { path: target(cut), ...(method === 'COPY' && { source, size: bytes.length }) }
    const body = line ? JSON.stringify(text) : (cut.body ?? '')
    const outgoing = request({
      port: node.port,
      method: line ? 'POST' : method,
      path: line ? (method === 'COPY' ? '/dev1/copies' : '/dev1/deletions') : target(cut),
      headers: {
        'content-length': body.length,
        ...(range !== undefined && { 'content-range': `bytes ${range}` }),
        ...(method === 'COPY' && !line && { source }),
      },
    })
    outgoing.on('error', () => {})
    outgoing.on('response', ({ statusCode }) => t.fail(`${cut.what}, ${step}: ${statusCode}`))
    outgoing.end(body)
  }
  await until(`all are at "${step}"`, () => paused === here.length)
  await node.kill('SIGKILL')
}

void t.test(
  'killed at any step of a PUT, COPY or DELETE, a node has the old file or the new one, whole',
  async t => {
    const source = await startNode(t, { root: join(t.testdir(), 'source'), devices: [2] })
    const root = join(t.testdirName, 'root')
    mkdirSync(join(root, 'dev1', '.tmp'), { recursive: true })
    for (const { method, fid } of cuts) {
      if (method !== 'COPY') continue
      await source.send('PUT', replicaPath({ devid: 2, fid }), { body: bytes })
    }
    const before = await startNode(t, { root })
    for (const cut of cuts) await store(before, cut)
    await before.close()
    for (const step of steps) await killAt(t, { root, step, from: source.port })

    const node = await startDaemon(t, root, { OMG_STORAGE_NODE_SECRET: secret })
    for (const cut of cuts) {
      const { status, body } = await send(node.port, 'GET', path(cut.fid))
      const expected = isDone(cut) ? cut.after : cut.before
      t.equal(status === 200 ? body.toString() : undefined, expected, `${cut.what}, ${cut.step}`)
    }
    const temporary = filesBelow(join(root, 'dev1', '.tmp'))
    t.ok(
      temporary.every(name => name.endsWith('.part')),
      `nothing but parts: ${temporary.join()}`,
    )

    for (const cut of cuts) {
      if (!cut.range?.endsWith('/13')) continue
      const ask = (body: string, range: string) =>
        send(node.port, 'PUT', target(cut), {
          body,
          headers: { 'content-range': `bytes ${range}` },
        })
      let answer = await ask('', '*/13')
      while (answer.status === 202) {
        const offset = Number(answer.headers['omg-offset'])
        const end = Math.min(offset + 8, 13)
        answer = await ask(bytes.slice(offset, end), `${offset}-${end - 1}/13`)
      }
      t.equal(answer.status, 201, `${cut.what} goes on after ${cut.step}`)
      t.ok(answer.headers['omg-receipt'], 'with a receipt')
      t.equal((await send(node.port, 'GET', path(cut.fid))).body.toString(), bytes)
    }
    const parts = filesBelow(join(root, 'dev1', '.tmp'))
    t.same(parts, [], 'what was in parts is whole or gone')
  },
)
