/** The main job, seen in a real browser: pictures go up, and come back through the reproxy. */
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium, type Page, type Response } from 'playwright-core'
import t, { type Test } from 'tap'
import { directory } from '../helpers/directory.ts'
import { startUp } from '../helpers/up.ts'
import { until } from '../helpers/until.ts'

t.setTimeout(600_000)

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  .concat(process.env['CHROMIUM'] ?? [])
  .find(path => existsSync(path))

/** Milliseconds for anything in the browser; machines may be slow. */
const patienceMs = 60_000

async function openPage(t: Test): Promise<Page> {
  const browser = await chromium.launch({
    executablePath: executablePath!,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  page.setDefaultTimeout(patienceMs)
  return page
}

/** Three photographs, as far as a file format goes: JPEGs of noise, drawn by the browser itself. */
async function makeJpegs(page: Page, dir: string): Promise<{ path: string; size: number }[]> {
  await mkdir(dir, { recursive: true })
  const names = ['harbour.jpg', 'garden in June.jpg', 'Straße & Café.jpg']
  return Promise.all(
    names.map(async (name, i) => {
      const dataUrl = await page.evaluate(hue => {
        const canvas = document.createElement('canvas')
        canvas.width = 1200
        canvas.height = 800
        const context = canvas.getContext('2d')!
        for (let x = 0; x < 1200; x += 4) {
          for (let y = 0; y < 800; y += 4) {
            context.fillStyle = `hsl(${hue + Math.random() * 60} 70% ${Math.random() * 100}%)`
            context.fillRect(x, y, 4, 4)
          }
        }
        return canvas.toDataURL('image/jpeg', 0.9)
      }, i * 120)
      const bytes = Buffer.from(dataUrl.slice(dataUrl.indexOf(',') + 1), 'base64')
      const path = join(dir, name)
      await writeFile(path, bytes)
      return { path, size: bytes.length }
    }),
  )
}

/** Waits until `count` thumbnails are drawn. */
async function untilDrawn(page: Page, count: number): Promise<void> {
  await page.waitForFunction(
    wanted => {
      const tiles = [...document.querySelectorAll<HTMLElement>('[data-key]')]
      const drawn = tiles.filter(tile => (tile.querySelector('img')?.naturalWidth ?? 0) > 0)
      return tiles.length === wanted && drawn.length === wanted
    },
    count,
    { timeout: patienceMs },
  )
}

const missing = executablePath ? false : 'no chromium on this machine'
if (missing && process.env['CI']) throw new Error(`${missing}, and CI needs one`)

t.test(
  'pictures go up, are seen, outlive a restart and are deleted',
  { skip: missing },
  async t => {
    const dir = await directory(t)
    const data = join(dir, 'data')
    const first = await startUp(t, { data, args: ['--separate'] })
    const page = await openPage(t)
    const jpegs = await makeJpegs(page, join(dir, 'pictures'))
    const pictures: Response[] = []
    page.on('response', response => {
      if (new URL(response.url()).pathname.startsWith('/pictures/')) pictures.push(response)
    })

    await page.goto(first.ready.reproxy)
    await page.locator('#empty').waitFor()
    await page.locator('#files').setInputFiles(jpegs.map(({ path }) => path))
    await untilDrawn(page, 3)
    await page.reload()
    await untilDrawn(page, 3)

    t.ok(pictures.length >= 3, 'the browser asked for the pictures')
    for (const response of pictures) {
      t.ok(response.url().startsWith(first.ready.reproxy), 'from the reproxy')
      const headers = await response.allHeaders()
      t.equal(headers['content-type'], 'image/jpeg')
      t.match(headers['via'], /^1\.1 /, 'which says so')
      t.notOk(
        Object.keys(headers).some(name => name.startsWith('x-reproxy')),
        'and hides how',
      )
    }
    const sizes = new Set(pictures.map(response => Number(response.headers()['content-length'])))
    t.same(sizes, new Set(jpegs.map(({ size }) => size)), 'byte for byte as many')
    const traffic = (await (
      await page.request.get(`${first.ready.reproxy}/api/traffic`)
    ).json()) as {
      pictures: { answers: number; bodyBytes: number }
      bytesSent: number
    }
    t.ok(traffic.pictures.answers >= 3, 'the application was asked for each')
    t.equal(traffic.pictures.bodyBytes, 0, 'and sent none of their bytes')
    t.ok(traffic.bytesSent < Math.min(...sizes), 'all it sent is less than one picture')

    process.kill(first.ready.pids['storage-node1']!, 'SIGKILL')
    for (const { url } of pictures.map(response => ({ url: response.url() }))) {
      const response = await page.request.get(url)
      t.equal(response.status(), 200, 'a dead storage node is not noticed')
      t.ok(sizes.has((await response.body()).length))
    }
    t.equal(await first.stop(), 0)

    const second = await startUp(t, { data, args: ['--separate'] })
    await page.goto(second.ready.reproxy)
    await untilDrawn(page, 3)

    await page.locator('[data-key]').first().getByRole('link').first().click()
    await page.locator('[data-action="delete"]').click()
    await page.locator('[data-action="confirm"]').click()
    await page.waitForURL(`${second.ready.reproxy}/`)
    await untilDrawn(page, 2)
    await until('the bytes are gone', async () => {
      const { queues } = await second.client.api.status()
      return queues.delete.waiting === 0
    })
    const left: string[] = []
    for await (const { key } of second.client.list()) left.push(key)
    t.equal(left.length, 2)
  },
)
