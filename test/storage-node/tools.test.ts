/** The programs that people reach for when they want to see what a storage node does. */
import { execFile, execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { signGrant, type Grant } from '../../common/signing.ts'
import { missing } from '../helpers/missing.ts'
import { filesBelow, keys, secret, startNode } from './node.ts'

const replica = { devid: 1, fid: 7 }

const without = (program: string): string | false =>
  missing(program, () => execFileSync(program, ['--version'], { stdio: 'ignore' }))

/** Runs a program to its end; `output` is what it printed, the answer's head included. */
function run(program: string, args: string[]): Promise<{ status: number; output: string }> {
  return new Promise(resolve => {
    execFile(program, args, { encoding: 'latin1' }, (err, stdout, stderr) => {
      resolve({ status: Number(err?.code ?? 0), output: stdout + stderr })
    })
  })
}

/** How each of them is told to send a request, and to show the head of the answer. */
const tools: [
  program: string,
  args: (request: { method: string; url: string; send?: string; save?: string }) => string[],
][] = [
  [
    'curl',
    ({ method, url, send, save }) => [
      '--silent',
      '--show-error',
      '--max-time',
      '60',
      ...(method === 'HEAD' ? ['--head'] : ['--include']),
      ...(send === undefined ? [] : ['--upload-file', send]),
      ...(save === undefined ? [] : ['--no-include', '--dump-header', '-', '--output', save]),
      ...(['GET', 'HEAD', 'PUT'].includes(method) ? [] : ['--request', method]),
      url,
    ],
  ],
  [
    'wget',
    ({ method, url, send, save }) => [
      '--quiet',
      '--server-response',
      '--content-on-error',
      '--tries=1',
      '--timeout=60',
      ...(method === 'HEAD' ? ['--spider'] : [`--output-document=${save ?? '-'}`]),
      ...(['GET', 'HEAD'].includes(method) ? [] : [`--method=${method}`]),
      ...(send === undefined ? [] : [`--body-file=${send}`]),
      url,
    ],
  ],
]

for (const [program, args] of tools) {
  const ask = async (request: Parameters<typeof args>[0]): Promise<string> =>
    (await run(program, args(request))).output

  void t.test(
    `${program} puts, gets and deletes files and makes directories`,
    { skip: without(program) },
    async t => {
      const node = await startNode(t)
      const [sent, got] = ['sent', 'got'].map(name => join(node.root, name)) as [string, string]
      const bytes = randomBytes(3_000_000) // more than curl sends without being told to go on
      writeFileSync(sent, bytes)
      const at = (name: string): string => `http://127.0.0.1:${node.port}/dev1/${name}`
      t.match(await ask({ method: 'MKCOL', url: at('album/') }), / 201 /)
      t.match(await ask({ method: 'PUT', url: at('album/photo'), send: sent }), / 201 /)
      t.match(
        await ask({ method: 'HEAD', url: at('album/photo') }),
        /content-length: 3000000\r?\n/i,
      )
      t.match(await ask({ method: 'GET', url: at('album/photo'), save: got }), / 200 /)
      t.ok(readFileSync(got).equals(bytes), 'the very bytes')
      const options = await ask({ method: 'OPTIONS', url: at('album/photo') })
      t.match(options, /allow: GET, HEAD, PUT, DELETE, MKCOL, OPTIONS\r?\n/i)
      for (const method of ['MOVE', 'PROPFIND', 'PROPPATCH', 'LOCK', 'UNLOCK']) {
        t.match(await ask({ method, url: at('album/photo') }), / 405 /, method)
      }
      t.match(await ask({ method: 'DELETE', url: at('album') }), / 400 /, 'never a directory')
      t.match(await ask({ method: 'DELETE', url: at('album/photo') }), / 204 /)
      t.match(await ask({ method: 'GET', url: at('album/photo') }), / 404 /)
      t.same(filesBelow(join(node.root, 'dev1')), [])
      t.ok(existsSync(join(node.root, 'dev1', 'album')))
    },
  )

  void t.test(`${program} uses signed URLs as they are`, { skip: without(program) }, async t => {
    const node = await startNode(t, { secret })
    const sent = join(node.root, 'sent')
    writeFileSync(sent, 'hello')
    const url = (method: Grant['method']): string => {
      const token = signGrant(
        keys,
        { method, devid: 1, object: '7' },
        Math.floor(Date.now() / 1000) + 60,
      )
      return `http://127.0.0.1:${node.port}${replicaPath(replica)}?${token}`
    }
    t.match(await ask({ method: 'PUT', url: url('PUT'), send: sent }), /omg-receipt: /i)
    t.match(await ask({ method: 'GET', url: url('GET') }), /hello/)
    t.match(await ask({ method: 'DELETE', url: url('GET') }), / 403 /)
    t.match(await ask({ method: 'DELETE', url: url('DELETE') }), / 204 /)
  })
}
