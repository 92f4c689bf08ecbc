import { mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { startDaemon, type TestDaemon } from './daemon.ts'
import { filesBelow, send } from './node.ts'

const path = replicaPath({ devid: 1, fid: 7 })
const origin = ({ port }: TestDaemon): string => `127.0.0.1:${port}`

function newRoot(t: Test): string {
  const root = t.testdir()
  mkdirSync(join(root, 'dev1'))
  return root
}

function store(root: string, text: string): void {
  mkdirSync(join(root, dirname(path)), { recursive: true })
  writeFileSync(join(root, path), text)
}

/** Runs a request that stops at `step`, kills the node there, and starts it again. */
async function killAt(
  t: Test,
  {
    root,
    step,
    method,
    headers = {},
  }: {
    root: string
    step: string
    method: string
    headers?: Record<string, string>
  },
): Promise<TestDaemon> {
  const args = headers['source'] ? ['--sources', new URL(headers['source']).host] : []
  const node = await startDaemon(t, root, { OMG_TEST_PAUSE_AT: step }, args)
  const paused = new Promise<void>(resolve => {
    node.child.on('message', message => {
      if ((message as { pausedAt?: string }).pausedAt === step) resolve()
    })
  })
  const body = method === 'PUT' ? 'new bytes' : ''
  const length = method === 'PUT' ? { 'content-length': body.length } : {}
  const outgoing = request({ port: node.port, method, path, headers: { ...headers, ...length } })
  outgoing.on('error', () => {})
  outgoing.on('response', () => t.fail(`answered before "${step}"`))
  outgoing.end(body)
  await paused
  await node.kill('SIGKILL')
  return startDaemon(t, root)
}

const puts = ['put: created', 'put: written', 'put: flushed', 'put: named', 'put: name flushed']

void t.test(
  'killed at any step of a PUT, a node has the old file or the new one, whole',
  async t => {
    for (const step of puts) {
      for (const old of [undefined, 'old']) {
        const root = newRoot(t)
        if (old !== undefined) store(root, old)
        const node = await killAt(t, { root, step, method: 'PUT' })
        const answer = await send(node.port, 'GET', path)
        const found = answer.status === 200 ? answer.body.toString() : undefined
        t.equal(
          found,
          /named|name flushed/.test(step) ? 'new bytes' : old,
          `${step}, before: ${old}`,
        )
        t.same(filesBelow(root), found === undefined ? [] : [path.slice(1)], 'and nothing else')
        await node.kill('SIGKILL')
      }
    }
  },
)

void t.test('killed at any step of a COPY, a node has the whole copy or none', async t => {
  const sourceRoot = t.testdir()
  mkdirSync(join(sourceRoot, 'dev2'))
  const from = await startDaemon(t, sourceRoot)
  const there = replicaPath({ devid: 2, fid: 7 })
  await send(from.port, 'PUT', there, { body: 'copied bytes' })
  for (const step of puts) {
    const root = join(sourceRoot, step.replace(/\W/g, ''))
    mkdirSync(join(root, 'dev1'), { recursive: true })
    const source = `http://${origin(from)}${there}`
    const node = await killAt(t, { root, step, method: 'COPY', headers: { source } })
    const answer = await send(node.port, 'GET', path)
    if (/named|name flushed/.test(step)) t.equal(answer.body.toString(), 'copied bytes', step)
    else t.equal(answer.status, 404, step)
    t.ok(
      filesBelow(root).every(name => name.endsWith('.fid')),
      'nothing else',
    )
    await node.kill('SIGKILL')
  }
})

void t.test('killed at any step of a DELETE, a node has the whole file or none', async t => {
  for (const step of ['delete: unlinked', 'delete: flushed']) {
    const root = newRoot(t)
    store(root, 'x')
    const node = await killAt(t, { root, step, method: 'DELETE' })
    t.equal((await send(node.port, 'GET', path)).status, 404, step)
    t.same(filesBelow(root), [])
    await node.kill('SIGKILL')
  }
})
