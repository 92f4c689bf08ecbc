import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { buffer, json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { test, type Test } from 'tap'
import { CodedError } from '../../common/errors.ts'
import { createLogger } from '../../common/log.ts'
import { createPhotoApp, type PhotoAppOptions } from '../../deploy/demo/app.ts'

interface Stored {
  readonly key: string
  readonly size: number
  readonly contentType: string
  readonly createdAt: Date
  readonly content: Buffer
}

/** What the application uses of the client, on a map. `refusing` makes puts fail as a full store does. */
function memoryFiles() {
  const stored = new Map<string, Stored>()
  const get = (key: string): Stored => {
    const file = stored.get(key)
    if (!file) throw new CodedError('unknown_key', 'no such file')
    return file
  }
  const files = {
    stored,
    refusing: false,
    failures: [] as unknown[],
    async put(key: string, body: Readable, info: { size: number; contentType: string }) {
      if (files.refusing) {
        await once(body, 'readable')
        body.destroy()
        throw new CodedError('no_devices', 'no device can take this file')
      }
      const content = await buffer(body).catch((err: unknown) => {
        files.failures.push(err)
        throw err
      })
      const createdAt = new Date(1_700_000_000_000 + stored.size * 1000)
      const file = { key, ...info, createdAt, content }
      stored.set(key, file)
      return file
    },
    async *list() {
      yield* stored.values()
    },
    async stat(key: string) {
      return get(key)
    },
    async delete(key: string) {
      get(key)
      stored.delete(key)
    },
    async reproxyHeaders(key: string) {
      const { contentType, size } = get(key)
      return {
        'content-type': contentType,
        'x-reproxy-url': 'http://127.0.0.1:7500/dev1/0/000/000/0000000001.fid',
        'x-reproxy-expected-size': String(size),
      }
    },
  }
  return files
}

async function startApp(t: Test) {
  const files = memoryFiles()
  const app = createPhotoApp({
    files: files as unknown as PhotoAppOptions['files'],
    listen: '127.0.0.1:0',
    log: createLogger('photos', { level: 'silent' }),
  })
  await app.start()
  t.teardown(() => app.close())
  const url = `http://${app.address}`
  const upload = (name: string, content: string, headers: Record<string, string> = {}) =>
    fetch(`${url}/api/pictures/${encodeURIComponent(name)}`, {
      method: 'PUT',
      body: Buffer.from(content),
      headers: { 'content-type': 'image/jpeg', ...headers },
    })
  return { app, files, url, upload }
}

/** What the reproxy tells an application it can do. */
const reproxied = { headers: { 'x-proxy-capabilities': 'reproxy-url' } }

const codeOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { code: string }).code

void test('every upload gets a key of its own, and the newest is listed first', async t => {
  const { url, files, upload } = await startApp(t)
  const first = await upload('cat.jpg', 'one')
  t.equal(first.status, 201)
  await upload('cat.jpg', 'two', { 'content-type': 'image/webp' })
  await files.put('notes.txt', Readable.from([]), {
    size: 0,
    contentType: 'text/plain',
  })

  const answer = await fetch(`${url}/api/pictures`)
  const { pictures } = (await answer.json()) as { pictures: Stored[] }
  t.match(pictures, [
    { title: 'cat.jpg', size: 3, contentType: 'image/webp', uploadedAt: /^2023-/ },
    { title: 'cat.jpg', size: 3, contentType: 'image/jpeg' },
  ])
  t.equal(pictures.length, 2, 'what is no picture is not shown')
  t.not(pictures[0]?.key, pictures[1]?.key)
  t.same(files.stored.get(pictures[1]?.key ?? '')?.content.toString(), 'one')
})

void test('a picture is answered with where it is, and no bytes', async t => {
  const { url, upload } = await startApp(t)
  const name = `Ø's "best" 100%;\u2028.jpg`
  const { key } = (await (await upload(name, 'bytes')).json()) as Stored

  const response = await fetch(`${url}/pictures/${encodeURIComponent(key)}`, reproxied)
  t.equal(response.status, 200)
  t.equal(await response.text(), '')
  t.match(Object.fromEntries(response.headers), {
    'content-type': 'image/jpeg',
    'x-reproxy-url': /^http:.*fid$/,
    'x-reproxy-expected-size': '5',
    'cache-control': /^private, max-age=/,
    'x-content-type-options': 'nosniff',
    'content-security-policy': /sandbox/,
    'content-disposition': `inline; filename="__s _best_ 100___.jpg"; filename*=UTF-8''%C3%98%27s%20%22best%22%20100%25%3B%E2%80%A8.jpg`,
  })
  t.equal((await fetch(`${url}/view/${encodeURIComponent(key)}`)).status, 200)
})

void test('without a reproxy in front, a picture is refused with a sentence that says why', async t => {
  const { url, upload } = await startApp(t)
  const { key } = (await (await upload('cat.jpg', 'bytes')).json()) as Stored
  const response = await fetch(`${url}/pictures/${key}`)
  t.equal(response.status, 421)
  t.match(await response.json(), { code: 'no_reproxy', message: /address of the reproxy/ })
})

void test('what may not be uploaded is refused and leaves nothing', async t => {
  const { files, upload, url } = await startApp(t)
  const cases: [string, string, string, number, string][] = [
    ['drawing.svg', '<svg/>', 'image/svg+xml', 415, 'unsupported_media_type'],
    ['page.html', '<p>', 'text/html', 415, 'unsupported_media_type'],
    ['empty.jpg', '', 'image/jpeg', 400, 'bad_request'],
    ['a/b.jpg', 'x', 'image/jpeg', 400, 'bad_request'],
    ['a\nb.jpg', 'x', 'image/jpeg', 400, 'bad_request'],
    ['x'.repeat(256), 'x', 'image/jpeg', 400, 'bad_request'],
  ]
  for (const [name, content, type, status, code] of cases) {
    const response = await upload(name, content, { 'content-type': type })
    t.equal(response.status, status, `${name.slice(0, 20)} as ${type}`)
    t.equal(await codeOf(response), code)
  }
  const raw = async (headers: Record<string, string>): Promise<number | undefined> => {
    const sent = request(`${url}/api/pictures/cat.jpg`, {
      method: 'PUT',
      headers: { 'content-type': 'image/jpeg', ...headers },
    })
    sent.on('error', () => {})
    sent.flushHeaders()
    const [{ statusCode }] = (await once(sent, 'response')) as [{ statusCode?: number }]
    sent.destroy()
    return statusCode
  }
  t.equal(await raw({ 'content-length': '100000001' }), 413)
  t.equal(await raw({ 'transfer-encoding': 'chunked' }), 411)
  t.equal(files.stored.size, 0)
})

void test('pages of other sites can neither upload nor delete', async t => {
  const { app, files, upload, url } = await startApp(t)
  const foreign = [
    { origin: 'http://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
  ]
  for (const headers of foreign as Record<string, string>[]) {
    const response = await upload('cat.jpg', 'bytes', headers)
    t.equal(response.status, 403, JSON.stringify(headers))
    t.equal(await codeOf(response), 'forbidden')
  }
  t.equal(files.stored.size, 0)
  t.equal((await upload('cat.jpg', 'bytes', { origin: `http://${app.address}` })).status, 201)
  const [key] = files.stored.keys()
  const response = await fetch(`${url}/api/pictures/${key}`, {
    method: 'DELETE',
    headers: { origin: 'http://evil.example' },
  })
  t.equal(response.status, 403)
  t.equal(files.stored.size, 1)
})

void test('a deleted picture is gone, and unknown ones are 404', async t => {
  const { files, upload, url } = await startApp(t)
  await upload('a?b#c%2F d.jpg', 'bytes')
  const path = encodeURIComponent([...files.stored.keys()][0] ?? '')
  const remove = () => fetch(`${url}/api/pictures/${path}`, { method: 'DELETE' })
  t.equal((await remove()).status, 204)
  t.equal(files.stored.size, 0)
  t.equal(await codeOf(await remove()), 'unknown_key')
  t.equal(await codeOf(await fetch(`${url}/pictures/${path}`, reproxied)), 'unknown_key')
  const page = await fetch(`${url}/view/${path}`)
  t.equal(page.status, 404)
  t.match(page.headers.get('content-type'), 'text/html')
})

void test('an upload that the store gives up is read to its end and answered', async t => {
  const { files, url } = await startApp(t)
  files.refusing = true
  const agent = new Agent({ keepAlive: true }) // `Connection: close` would cut us off in mid-body
  t.teardown(() => agent.destroy())
  const sent = request(`${url}/api/pictures/cat.jpg`, {
    method: 'PUT',
    agent,
    headers: { 'content-type': 'image/jpeg' },
  })
  sent.end(Buffer.alloc(32_000_000)) // more than the kernel keeps for a reader that stopped
  const [[response]] = await Promise.all([once(sent, 'response'), once(sent, 'finish')])
  t.equal(response.statusCode, 507)
  t.match(await json(response), { code: 'no_devices' })
})

void test('an upload cut short by the browser fails the put', async t => {
  const { files, url } = await startApp(t)
  const sent = request(`${url}/api/pictures/cat.jpg`, {
    method: 'PUT',
    headers: { 'content-type': 'image/jpeg', 'content-length': '100' },
  })
  sent.on('error', () => {})
  sent.write('not yet all', () => sent.destroy())
  while (files.failures.length === 0) await sleep(10)
  t.match(files.failures, [Error])
  t.equal(files.stored.size, 0)
})

void test('every byte it sends is counted, and none is of a picture', async t => {
  const { app, upload, url } = await startApp(t)
  const { key } = (await (await upload('cat.jpg', 'bytes')).json()) as Stored
  const before = app.bytesSent
  t.ok(before > 0)

  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  socket.write(
    `GET /pictures/${encodeURIComponent(key)} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n` +
      'X-Proxy-Capabilities: reproxy-url\r\n\r\n',
  )
  const received = Buffer.concat(await socket.toArray())
  t.equal(app.bytesSent - before, received.length)
  t.ok(received.toString().endsWith('\r\n\r\n'), 'a head and nothing behind it')

  const traffic = await (await fetch(`${url}/api/traffic`)).json()
  t.match(traffic, { pictures: { answers: 1, bodyBytes: 0 }, bytesSent: Number })
})

void test('pages load nothing from elsewhere and are not sent twice', async t => {
  const { url } = await startApp(t)
  const page = await fetch(url)
  const html = await page.text()
  t.match(page.headers.get('content-security-policy'), "default-src 'self'")
  t.notMatch(html, /<script(?! type="module" src)|<style|style=|https?:/, 'nothing inline')
  const paths = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(match => match[1])
  t.ok(paths.length >= 3)
  for (const path of new Set(paths)) {
    const asset = await fetch(url + path)
    t.equal(asset.status, 200, `${path}`)
    const etag = asset.headers.get('etag') ?? ''
    t.equal((await fetch(url + path, { headers: { 'if-none-match': etag } })).status, 304)
  }
  t.equal(await codeOf(await fetch(`${url}/nothing`)), 'not_found')
})
