import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler } from 'express'
import multer from 'multer'
import t from 'tap'
import { multerStorage } from '../../../client/adapters/multer.ts'
import { startCluster } from '../../helpers/cluster.ts'
import { until } from '../../helpers/until.ts'

t.setTimeout(300_000)

void t.test('multer streams the files of a form into the store', async t => {
  const cluster = await startCluster(t, { hosts: 2, classes: { single: 1 } })
  const { client } = cluster
  const storage = multerStorage(client, {
    key: (_request, { originalname }) => {
      if (originalname === 'refused') throw new Error('no such name')
      return `up/${originalname}`
    },
    fields: () => ({ class: 'single', metadata: { by: 'form' } }),
  })
  const form = multer({ storage, limits: { fileSize: 300_000 } })
  const app = express()
  app.post('/', form.array('files', 3), (request, reply) => {
    reply.json({ files: request.files, body: request.body as object })
  })
  const onError: ErrorRequestHandler = (
    err: { code?: string; message: string },
    _,
    reply,
    next,
  ) => {
    if (reply.headersSent) next(err)
    else reply.status(400).json({ code: err.code, message: err.message })
  }
  app.use(onError)
  const server = app.listen(0, '127.0.0.1')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  await new Promise(resolve => server.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`

  async function send(files: Record<string, Buffer<ArrayBuffer>>) {
    const body = new FormData()
    body.append('title', 'Cats')
    for (const [name, bytes] of Object.entries(files)) {
      body.append('files', new File([bytes], name, { type: 'image/jpeg' }))
    }
    const answer = await fetch(url, { method: 'POST', body })
    return { status: answer.status, json: (await answer.json()) as Record<string, unknown> }
  }
  const large = randomBytes(250_000)

  const good = await send({ 'a.jpg': Buffer.from('hello'), 'b.jpg': large })
  t.equal(good.status, 200)
  t.match(good.json, {
    body: { title: 'Cats' },
    files: [
      {
        fieldname: 'files',
        originalname: 'a.jpg',
        mimetype: 'image/jpeg',
        key: 'up/a.jpg',
        size: 5,
        etag: /^"\d+"$/,
        sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
      },
      { key: 'up/b.jpg', size: 250_000 },
    ],
  })
  const stored = await client.get('up/b.jpg')
  t.match(stored, { contentType: 'image/jpeg', class: 'single', metadata: { by: 'form' } })
  t.ok(large.equals(await stored.bytes()))

  const tooLarge = await send({ 'c.jpg': Buffer.from('c'), 'b.jpg': randomBytes(300_001) })
  t.match(tooLarge, { status: 400, json: { code: 'LIMIT_FILE_SIZE' } })
  t.ok(large.equals(await (await client.get('up/b.jpg')).bytes()), 'what was there stays')
  await until('the files of a request that failed are gone', async () => {
    return !(await client.exists('up/c.jpg'))
  })

  const tooMany = Object.fromEntries(['d', 'e', 'f', 'g'].map(name => [name, Buffer.from(name)]))
  t.match(await send(tooMany), { status: 400, json: { code: 'LIMIT_UNEXPECTED_FILE' } })
  await until('they are gone too', async () => {
    const { deleted } = await client.deleteMany(client.list({ prefix: 'up/absent' }))
    return deleted === 0 && !(await client.exists('up/d')) && !(await client.exists('up/f'))
  })
  t.match(await send({ refused: large }), { status: 400, json: { message: 'no such name' } })

  const abort = new AbortController()
  const endless = new ReadableStream<Uint8Array>({
    start(controller) {
      const head =
        '--b\r\ncontent-disposition: form-data; name="files"; filename="b.jpg"\r\n' +
        'content-type: image/jpeg\r\n\r\n'
      controller.enqueue(Buffer.from(head))
      controller.enqueue(randomBytes(100_000))
    },
  })
  const broken = fetch(url, {
    method: 'POST',
    body: endless,
    duplex: 'half',
    signal: abort.signal,
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
  } as RequestInit)
  await until('the upload is open', async () => {
    return (await cluster.api.status()).openUploads > 0
  })
  abort.abort()
  await t.rejects(broken)
  await until('the upload is given up', async () => {
    return (await cluster.api.status()).openUploads === 0
  })
  t.ok(large.equals(await (await client.get('up/b.jpg')).bytes()), 'what was there stays')
})
