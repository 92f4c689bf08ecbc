/** The code of the guides, as programs, against real storage nodes. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { directory } from '../helpers/directory.ts'
import { startStandIn } from './stand-in.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('../../../', import.meta.url))

const codeOf = (page: string): string[] =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/```js\n([^]*?)```/g)].map(
    ([, code = '']) => code,
  )

const [client = '', expressApp = '', fastifyApp = '', nextRoute = ''] = codeOf(
  'docs/guides/frameworks.md',
)
const [save = '', copy = '', serve = ''] = codeOf('docs/guides/from-local-disk.md')
const importFiles = "import { files } from './files.js'\n"

/** An application's folder, with the client of the guide in `files.js`. */
async function startApp(t: Test) {
  const { url, ...standIn } = await startStandIn(t)
  const folder = await directory(t)
  const modules = join(folder, 'node_modules')
  mkdirSync(modules)
  symlinkSync(root, join(modules, 'omgfiles'))
  for (const name of ['express', 'fastify', 'multer']) {
    symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)
  write('package.json', '{ "type": "module" }')
  write('files.js', client)
  const env = { ...process.env, OMG_TRACKERS: url, OMG_TOKEN: 'a-token' }
  const options = { cwd: folder, env }
  return {
    ...standIn,
    folder,
    write,
    node: (name: string) => run(process.execPath, [name], options),
    /** Runs a server until it gets SIGTERM; `port` is the expression that tells its port. */
    listen: async (code: string, port: string) => {
      write('app.js', `${importFiles}${code.replace(/\b3000\b/, '0')}\nconsole.log(${port})\n`)
      const child = spawn(process.execPath, ['app.js'], {
        ...options,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ended = once(child, 'exit')
      const stop = async (): Promise<unknown> => {
        child.kill('SIGTERM')
        return ended
      }
      t.teardown(stop)
      const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
      return { origin: `http://127.0.0.1:${line}`, stop }
    },
  }
}

const bytes = Buffer.from([0xff, 0x00, 0xfe, 0x0a])

t.test('Express', async t => {
  const { listen } = await startApp(t)
  const { origin, stop } = await listen(expressApp, 'server.address().port')
  const form = new FormData()
  form.append('photos', new File([bytes], 'cat.jpg', { type: 'image/jpeg' }))
  const put = await fetch(`${origin}/photos`, { method: 'POST', body: form })
  const [key = ''] = (await put.json()) as string[]
  t.match(key, /\/cat\.jpg$/)
  const got = await fetch(`${origin}/photos/${key}`)
  t.equal(got.headers.get('content-type'), 'image/jpeg')
  t.equal(got.headers.get('cache-control'), 'private, max-age=3600')
  t.same(Buffer.from(await got.arrayBuffer()), bytes)
  const none = await fetch(`${origin}/photos/nothing`)
  t.equal(none.status, 404)
  await none.text()
  t.same(await stop(), [0, null])
})

t.test('Fastify, whatever type a body is of', async t => {
  const { listen } = await startApp(t)
  const { origin, stop } = await listen(fastifyApp, 'app.server.address().port')
  for (const type of ['image/jpeg', 'text/plain', 'application/json', 'application/x-none']) {
    const url = `${origin}/photos/a%20b/c`
    const body = type === 'application/x-none' ? '' : bytes
    const put = await fetch(url, { method: 'PUT', body, headers: { 'content-type': type } })
    t.same([put.status, await put.json()], [201, { key: 'a b/c', size: body.length }], type)
    const got = await fetch(url)
    t.equal(got.headers.get('content-type'), type)
    t.same(Buffer.from(await got.arrayBuffer()), Buffer.from(body))
  }
  const none = await fetch(`${origin}/photos/nothing`)
  t.equal(none.status, 404)
  await none.text()
  t.same(await stop(), [0, null])
})

t.test('Next.js: the functions of the route', async t => {
  const { node, write } = await startApp(t)
  write('route.js', nextRoute.replace('@/lib/files', './files.js'))
  write(
    'use.js',
    `import { GET, PUT } from './route.js'
    ${importFiles}
    const context = { params: Promise.resolve({ key: ['a', 'b'] }) }
    const url = 'http://127.0.0.1/photos/a/b'
    const ask = (method, options) => method(new Request(url, options), context)
    const put = await ask(PUT, { method: 'PUT', body: 'hello', headers: { 'content-type': 'text/x' } })
    const got = await ask(GET)
    const part = await ask(GET, { headers: { range: 'bytes=1-2' } })
    const same = await ask(GET, { headers: { 'if-none-match': got.headers.get('etag') } })
    await files.delete('a/b')
    const none = await ask(GET)
    console.log(JSON.stringify([
      put.status, await put.json(), got.headers.get('content-type'), await got.text(),
      part.status, await part.text(), same.status, none.status, await none.json(),
    ]))
    await files.close()`,
  )
  const { stdout } = await node('use.js')
  t.same(JSON.parse(stdout), [
    201,
    { key: 'a/b', size: 5 },
    'text/x',
    'hello',
    206,
    'el',
    304,
    404,
    { code: 'unknown_key' },
  ])
})

t.test('from local disk: files go to both, are copied, and are served from either', async t => {
  const { folder, files, listen, node, write } = await startApp(t)
  const uploads = join(folder, 'uploads')
  const local = (code: string): string => code.replaceAll('/srv/app/uploads', uploads)
  mkdirSync(join(uploads, 'sub'), { recursive: true })
  write('uploads/sub/old %.txt', 'old')
  write(
    'save.js',
    `${importFiles}${local(save)}\nawait save('new.txt', 'new', 'text/plain')\nawait files.close()`,
  )
  write('copy.js', `${importFiles}${local(copy)}\nawait files.close()`)
  await node('save.js')
  await node('copy.js')
  t.same([...files.keys()].toSorted(), ['new.txt', 'sub%2Fold%20%25.txt'])
  const fids = [...files.values()].map(({ fid }) => fid)
  await node('copy.js')
  t.same(
    [...files.values()].map(({ fid }) => fid),
    fids,
    'what is there is passed over',
  )

  rmSync(join(uploads, 'new.txt'))
  write('uploads/disk.txt', 'on disk')
  const app = `import express from 'express'
    const root = '${uploads}'
    const app = express()
    ${serve}
    const server = app.listen(3000)
    process.once('SIGTERM', () => server.close(() => files.close()))`
  const { origin, stop } = await listen(app, 'server.address().port')
  const read = async (path: string): Promise<string> => {
    const answer = await fetch(`${origin}/uploads/${path}`)
    const text = await answer.text()
    return answer.ok ? text : String(answer.status)
  }
  t.equal(await read('new.txt'), 'new')
  t.equal(await read('sub/old%20%25.txt'), 'old')
  t.equal(await read('disk.txt'), 'on disk')
  t.equal(await read('none.txt'), '404')
  t.equal(await read('%zz'), '400')
  t.same(await stop(), [0, null])
})
