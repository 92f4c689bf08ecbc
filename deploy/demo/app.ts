/**
 * The photo application: a complete web application on the SDK. It hands uploads on to the store,
 * lists and deletes, and for a picture tells the reproxy in front of it which file to answer with.
 * The bytes of a picture never leave through it, and it counts what it sends to show that.
 */
import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import type { Client } from '../../client/index.ts'
import { formatAddress, parseAddress } from '../../common/config.ts'
import type { Daemon } from '../../common/daemon.ts'
import { errorBody } from '../../common/http.ts'
import type { Logger } from '../../common/log.ts'
import { accepts, inlineAs, isPicture, pictureOf, type Picture } from './pictures.ts'
import { publicFiles } from './public-files.ts'
import { bodyOf, checkReproxied, checkUpload, isReproxied } from './requests.ts'
import { createWebServer } from './server.ts'
import { meterTraffic } from './traffic.ts'

export interface PhotoAppOptions {
  /** The client of the domain that holds the pictures. */
  readonly files: Pick<Client, 'put' | 'list' | 'stat' | 'delete' | 'reproxyHeaders'>
  /** `HOST:PORT`; port 0 takes a free one. */
  readonly listen: string
  readonly log: Logger
}

export interface PhotoApp extends Daemon {
  /** `HOST:PORT` once it serves. */
  readonly address: string
  /** Bytes written to sockets since the start, heads of answers included. */
  readonly bytesSent: number
}

interface KeyRoute {
  Params: { '*': string }
}

/** Creates the application. It does not close `files`. */
export function createPhotoApp({ files, listen, log }: PhotoAppOptions): PhotoApp {
  const app = createWebServer(log)
  const traffic = meterTraffic(app, '/pictures/*')
  const pages = publicFiles(app, '/assets')

  app.get('/', (_request, reply) => pages.send(reply, 'index.html'))

  app.get<KeyRoute>('/view/*', async (request, reply) => {
    const status = await files.stat(request.params['*']).then(
      () => 200,
      err => errorBody(err).statusCode,
    )
    return pages.send(reply.code(status), 'view.html')
  })

  app.get<KeyRoute>('/pictures/*', async (request, reply) => {
    const key = request.params['*']
    checkReproxied(request)
    return reply
      .headers(await files.reproxyHeaders(key))
      .headers({
        'cache-control': 'private, max-age=3600',
        'content-disposition': inlineAs(key),
        'content-security-policy': "default-src 'none'; sandbox", // should it be no picture at all
      })
      .send()
  })

  app.get('/api/pictures', async request => {
    const pictures: Picture[] = []
    for await (const file of files.list()) {
      // A key that is no text has no place in a URL of ours.
      if (isPicture(file.contentType) && !file.keyBytes) pictures.push(pictureOf(file))
    }
    pictures.sort((a, b) => b.uploadedAt.getTime() - a.uploadedAt.getTime())
    return { pictures, accepts, reproxied: isReproxied(request) }
  })

  app.put<KeyRoute>('/api/pictures/*', async (request, reply) => {
    const { name, size, contentType } = checkUpload(request, request.params['*'])
    const key = `${Date.now().toString(36)}-${randomBytes(6).toString('hex')}/${name}`
    const file = await files.put(key, bodyOf(request), { size, contentType })
    return reply.code(201).send(pictureOf(file))
  })

  app.delete<KeyRoute>('/api/pictures/*', async (request, reply) => {
    await files.delete(request.params['*'])
    return reply.code(204).send()
  })

  app.get('/api/traffic', () => traffic)

  return {
    start: async () => {
      await app.listen(parseAddress('listen', listen))
    },
    close: () => app.close(),
    listening() {
      return { http: this.address }
    },
    get address() {
      const { address, port } = app.server.address() as AddressInfo
      return formatAddress({ host: address, port })
    },
    get bytesSent() {
      return traffic.bytesSent
    },
  }
}
