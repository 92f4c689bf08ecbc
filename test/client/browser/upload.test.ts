import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { chromium, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import type { StoredUpload } from '../../../client/index.ts'
import { directory } from '../../helpers/directory.ts'
import { until } from '../../helpers/until.ts'
import { startCuttingRelay, type CuttingRelay } from '../cutting-relay.ts'
import { bodyOf, startPeer } from '../peer.ts'
import { startStandIn, type StandIn } from '../stand-in.ts'
import { bundleBrowserSdk } from './bundle.ts'

t.setTimeout(600_000)

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  .concat(process.env['CHROMIUM'] ?? [])
  .find(path => existsSync(path))
const missing = executablePath ? false : 'no chromium on this machine'
if (missing && process.env['CI']) throw new Error(`${missing}, and CI needs one`)

const mib = 1024 * 1024

const html = `<!doctype html><title>Upload</title><input type="file"><script type="module">
import { upload } from '/sdk.js'
async function post(path, body, signal) {
  const answer = await fetch(path, { method: 'POST', body: JSON.stringify(body), signal })
  if (!answer.ok) throw new Error(path + ' answered ' + answer.status)
  return answer.json()
}
document.querySelector('input').onchange = async ({ target }) => {
  window.result = undefined
  window.sent = []
  window.abort = new AbortController()
  window.result = await upload(target.files[0], {
    open: (file, signal) => post('/open', { name: file.name, size: file.size }, signal),
    commit: (stored, signal) => post('/commit', stored, signal),
    abandon: id => post('/abandon', id),
    onProgress: ({ sent }) => window.sent.push(sent),
    signal: window.abort.signal,
  }).catch(err => ({ failed: err.code ?? err.name }))
}
</script>`

interface Result {
  readonly failed?: string
  readonly key?: string
  readonly sha256?: string
}

interface Setting {
  readonly page: Page
  readonly cluster: StandIn
  readonly relays: readonly CuttingRelay[]
  /** Paths that the page has asked the application for. */
  readonly asked: string[]
  /** Refuses the next commits with this status. */
  refuse: number
  choose(path: string): Promise<void>
  sent(): Promise<number>
  result(): Promise<Result>
}

/** Nodes, an application, and its page in a browser. */
async function start(t: Test): Promise<Setting> {
  const cluster = await startStandIn(t, { hosts: 2 })
  const relays: CuttingRelay[] = []
  for (const { origin } of cluster.places) {
    relays.push(await startCuttingRelay(t, origin))
  }
  cluster.places = cluster.places.map((place, i) => ({ ...place, origin: relays[i]!.origin }))
  const sdk = await bundleBrowserSdk()
  const asked: string[] = []
  const { client } = cluster

  async function answer(path: string, text: string): Promise<unknown> {
    if (path === '/open') {
      const { name, size } = JSON.parse(text) as { name: string; size: number }
      return await client.signedPut(name, { size })
    }
    if (path === '/commit') return await client.commitPut(JSON.parse(text) as StoredUpload)
    await client.abandonPut(JSON.parse(text) as string)
    return {}
  }

  async function serve(request: IncomingMessage, reply: ServerResponse): Promise<void> {
    const { url = '', method } = request
    if (method === 'GET') {
      const script = url === '/sdk.js'
      reply.setHeader('content-type', script ? 'text/javascript' : 'text/html')
      reply.end(script ? sdk : html)
      return
    }
    asked.push(url)
    const text = (await bodyOf(request)).toString()
    if (url === '/commit' && setting.refuse > 0) reply.writeHead(setting.refuse).end('{}')
    else reply.end(JSON.stringify(await answer(url, text)))
  }

  const { url } = await startPeer(t, serve)
  const browser = await chromium.launch({
    executablePath: executablePath!,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  page.setDefaultTimeout(120_000)
  await page.goto(url)
  const setting: Setting = {
    page,
    cluster,
    relays,
    asked,
    refuse: 0,
    choose: path => page.locator('input').setInputFiles(path),
    sent: () => page.evaluate(() => Math.max(0, ...((window as { sent?: number[] }).sent ?? []))),
    async result() {
      const found = await page.waitForFunction(() => (window as { result?: object }).result)
      return (await found.jsonValue()) as Result
    },
  }
  return setting
}

async function makeFile(t: Test, size: number): Promise<{ path: string; sha256: string }> {
  const bytes = randomBytes(size)
  const path = join(await directory(t), `${size}.bin`)
  await writeFile(path, bytes)
  return { path, sha256: createHash('sha256').update(bytes).digest('hex') }
}

void t.test('a page uploads straight to a storage node', { skip: missing }, async t => {
  const setting = await start(t)
  for (const size of [0, 5, 3 * mib, 20 * mib + 1]) {
    const { path, sha256 } = await makeFile(t, size)
    await setting.choose(path)
    t.match(await setting.result(), { key: `${size}.bin`, size, sha256 })
    const read = await (await setting.cluster.client.get(`${size}.bin`)).bytes()
    t.equal(createHash('sha256').update(read).digest('hex'), sha256)
    t.equal(await setting.page.evaluate(() => localStorage.length), 0, 'nothing is remembered')
  }
  t.equal(await setting.sent(), 20 * mib + 1, 'progress ends at the size')
})

void t.test('an upload outlives cut connections and a reload', { skip: missing }, async t => {
  const setting = await start(t)
  const { page, relays, asked } = setting
  const size = 120 * mib
  const { path, sha256 } = await makeFile(t, size)
  const [relay] = relays
  relay!.cutAfter(50 * mib)
  await setting.choose(path)
  await until('most of it is there', async () => (await setting.sent()) > 80 * mib)
  await page.reload()
  const before = relay!.received()
  t.ok(before < size, 'the page was closed in the middle')
  relay!.cutAfter(10 * mib)
  await setting.choose(path)
  t.match(await setting.result(), { size, sha256 })
  t.same(asked, ['/open', '/commit'], 'it is one upload')
  // A break costs at most the parts under way, whose bytes may lie in buffers of the system: three of
  // 8 MiB, and three times. To begin anew would cost 140 MiB more than the size.
  const times = relay!.received() / size
  t.ok(times < 1.75, `${times} times its size were sent`)
  t.equal(relays[1]!.received(), 0, 'to one node only')
})

void t.test('a cut in a part that took long is no silence', { skip: missing }, async t => {
  const setting = await start(t)
  const { page, relays, asked } = setting
  const [relay] = relays
  const { path, sha256 } = await makeFile(t, 20 * mib)
  await page.clock.install()
  relay!.stallAfter(12 * mib)
  await setting.choose(path)
  await until('a part is stuck', async () => relay!.received() > 12 * mib)
  await page.clock.fastForward(40_000)
  relay!.stallAfter(Infinity)
  relay!.cut()
  t.match(await setting.result(), { sha256, devids: [1] })
  t.same(asked, ['/open', '/commit'], 'it is one upload')
})

void t.test('a node that goes away is replaced by another', { skip: missing }, async t => {
  const setting = await start(t)
  const { path, sha256 } = await makeFile(t, 2 * mib)
  setting.relays[0]!.setOpen(false)
  await setting.choose(path)
  t.match(await setting.result(), { sha256, devids: [2] })
})

void t.test('a cancelled upload is given up', { skip: missing }, async t => {
  const setting = await start(t)
  const { page, cluster, relays } = setting
  const { path } = await makeFile(t, 40 * mib)
  relays[0]!.stallAfter(2 * mib)
  await setting.choose(path)
  await until('the upload has begun', () => relays[0]!.received() > mib)
  await page.evaluate(() => (window as unknown as { abort: AbortController }).abort.abort())
  t.match(await setting.result(), { failed: 20 })
  await until('the upload is given up', () => cluster.abandoned.length === 1)
  t.equal(await page.evaluate(() => localStorage.length), 0)
  t.equal(cluster.commits.length, 0)
})

void t.test('a commit that is refused is not tried for ever', { skip: missing }, async t => {
  const setting = await start(t)
  const { path } = await makeFile(t, 5)
  setting.refuse = 403
  await setting.choose(path)
  t.match(await setting.result(), { failed: 'Error' })
  setting.refuse = 0
  await setting.page.reload()
  await setting.choose(path)
  t.match(await setting.result(), { size: 5 })
  t.same(setting.asked, ['/open', '/commit', '/open', '/commit'])
})
