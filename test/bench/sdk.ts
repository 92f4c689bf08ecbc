/** What the SDK adds to the requests it makes: the same ones over bare undici. */
import { randomUUID } from 'node:crypto'
import { Agent } from 'undici'
import type { Client } from '../../client/index.ts'
import type { Located, OpenedUpload } from '../../common/protocol/files.ts'
import type { Benchmark } from './harness.ts'
import type { Bench } from './system.ts'

const size = 1024 * 1024
const body = Buffer.alloc(size, 'omgfiles')

interface Bare {
  /** Asks the tracker; what it answers as JSON. */
  ask<T>(method: 'GET' | 'POST', path: string, body?: object): Promise<T>
  /** PUTs the body; the node's receipt. */
  put(url: string): Promise<string>
  /** GETs a file; its bytes. */
  get(url: string): Promise<number>
}

/**
 * The SDK, and the requests it makes and nothing else: nothing is checked, repeated or asked of
 * another.
 */
async function clients({ system, atEnd }: Bench): Promise<{ client: Client; bare: Bare }> {
  const { client, ready } = await system()
  const agent = new Agent()
  atEnd(() => agent.destroy())
  const headers = { authorization: `Bearer ${ready.token}` }
  const targetOf = (url: string): { origin: string; path: string } => {
    const { origin, pathname, search } = new URL(url)
    return { origin, path: pathname + search }
  }
  const bare: Bare = {
    async ask<T>(method: 'GET' | 'POST', path: string, json?: object) {
      const answer = await agent.request({
        origin: ready.http,
        path: `/v1/domains/photos/${path}`,
        method,
        headers: json ? { ...headers, 'content-type': 'application/json' } : headers,
        body: json ? JSON.stringify(json) : null,
      })
      return (await answer.body.json()) as T
    },
    async put(url) {
      const answer = await agent.request({ ...targetOf(url), method: 'PUT', body })
      await answer.body.dump()
      return String(answer.headers['omg-receipt'])
    },
    async get(url) {
      const answer = await agent.request({ ...targetOf(url), method: 'GET' })
      return (await answer.body.arrayBuffer()).byteLength
    },
  }
  return { client, bare }
}

/** Puts and gets of 1 MiB. */
export const sdkBenchmarks: Benchmark<Bench>[] = [
  {
    name: 'SDK overhead, put of 1 MiB',
    unit: 'puts',
    concurrency: 8,
    against: 'the same requests, undici',
    async prepare(bench) {
      const { client, bare } = await clients(bench)
      return {
        async subject() {
          await client.put(`sdk/${randomUUID()}`, body)
          return 1
        },
        async baseline() {
          const key = `sdk/${randomUUID()}`
          const { upload, targets, copies } = await bare.ask<OpenedUpload>('POST', 'uploads', {
            key,
            size,
          })
          const stored = targets.slice(0, copies).map(async ({ devid, url }) => ({
            devid,
            receipt: await bare.put(url),
          }))
          const commit = { size, copies: await Promise.all(stored) }
          const { copies: made } = await bare.ask<{ copies: number }>(
            'POST',
            `uploads/${upload}/commit`,
            commit,
          )
          if (made !== copies) throw new Error(`${made} copies were made, not ${copies}`)
          return 1
        },
      }
    },
  },
  {
    name: 'SDK overhead, get of 1 MiB',
    unit: 'gets',
    concurrency: 8,
    against: 'the same requests, undici',
    async prepare(bench) {
      const { client, bare } = await clients(bench)
      await client.put('sdk/read', body)
      const checked = (bytes: number): number => {
        if (bytes !== size) throw new Error(`${bytes} bytes came, not ${size}`)
        return 1
      }
      return {
        subject: async () => checked((await (await client.get('sdk/read')).bytes()).length),
        async baseline() {
          const { urls } = await bare.ask<Located>('GET', 'locations?key=sdk%2Fread')
          return checked(await bare.get(urls[0] ?? ''))
        },
      }
    },
  },
]
