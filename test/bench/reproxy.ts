import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, nginx, perlbal, startNginx, startPerlbal } from '../helpers/edges.ts'
import { until } from '../helpers/until.ts'
import type { Benchmark } from './harness.ts'
import { connectMany } from './raw-http.ts'
import type { Bench } from './system.ts'

const main = fileURLToPath(new URL('../../reproxy/main.js', import.meta.url))

const get = Buffer.from('GET / HTTP/1.1\r\nHost: site.example\r\n\r\n')

/** GETs by a client that costs little; the bytes must be as many as `size`. */
async function getting(
  port: number,
  { size, concurrency, atEnd }: Pick<Bench, 'atEnd'> & { size: number; concurrency: number },
): Promise<() => Promise<number>> {
  const clients = await connectMany(port, concurrency)
  atEnd(async () => clients.close())
  return async () => {
    const bytes = await clients.ask(get)
    if (bytes !== size) throw new Error(`${bytes} bytes`)
    return 1
  }
}

interface Case {
  readonly kib: number
  /** Bodies are kept in memory, and the application need not be asked. */
  readonly cached: boolean
  readonly against: 'nginx' | 'Perlbal'
}

const atOnce = (kib: number): number => (kib > 64 ? 8 : 32)

const uncached = [4, 64, 1024].map(kib => ({ kib, cached: false }))
const cases: readonly Case[] = [
  ...uncached.map(each => ({ ...each, against: 'nginx' as const })),
  ...[4, 64].map(kib => ({ kib, cached: true, against: 'nginx' as const })),
  ...(perlbal ? uncached.map(each => ({ ...each, against: 'Perlbal' as const })) : []),
]

/**
 * Files through the reproxy, application and node being nginx, against nginx with X-Accel and against
 * Perlbal before the same.
 */
export const reproxyBenchmarks: Benchmark<Bench>[] = (nginx === undefined ? [] : cases).map(
  ({ kib, cached, against }) => ({
    name: `reproxy of ${kib} KiB${cached ? ', hot' : ''}${against === 'Perlbal' ? ', Perlbal' : ''}`,
    unit: 'requests',
    concurrency: atOnce(kib),
    against: against === 'Perlbal' ? against : cached ? 'nginx proxy_pass' : 'nginx, X-Accel',
    async prepare({ dir, atEnd }) {
      const work = await mkdtemp(join(dir, 'reproxy-'))
      const size = kib * 1024
      const path = '/dev1/0/000/000/0000000001.fid'
      await mkdir(join(work, 'root/dev1/0/000/000'), { recursive: true })
      await writeFile(join(work, 'root', path), Buffer.alloc(size, 'omgfiles'))
      const [app = 0, node = 0, front = 0] = await Promise.all(Array.from({ length: 3 }, freePort))
      // Behind: the application, which names the file to any of them, and the node.
      const behind = `
        server { listen 127.0.0.1:${app}; location / {
          add_header X-Reproxy-URL http://127.0.0.1:${node}${path};
          ${cached ? 'add_header X-Reproxy-Cache-For "3600; Content-Type";' : ''}
          add_header X-Accel-Redirect /node${path}; return 200; } }
        server { listen 127.0.0.1:${node}; root ${join(work, 'root')}; }`
      const target = cached ? `http://node${path}` : 'http://app'
      const before = `
        upstream app { server 127.0.0.1:${app}; keepalive 64; keepalive_requests 1000000; }
        upstream node { server 127.0.0.1:${node}; keepalive 64; keepalive_requests 1000000; }
        server { listen 127.0.0.1:${front}; proxy_http_version 1.1; proxy_set_header Connection "";
          location / { proxy_pass ${target}; }
          location /node/ { internal; proxy_pass http://node/; } }`
      await mkdir(join(work, 'behind'))
      await mkdir(join(work, 'before'))
      await startNginx({ dir: join(work, 'behind'), port: app, atEnd }, behind)
      const edge = { dir: join(work, 'before'), port: front, atEnd }
      await (against === 'nginx' ? startNginx(edge, before) : startPerlbal(edge, app))
      const config = {
        listen: '127.0.0.1:0',
        apps: [`127.0.0.1:${app}`],
        allowTargets: [`127.0.0.1:${node}`],
        accessLog: join(work, 'access.log'),
        bodyCacheBytes: cached ? 64 * 1024 * 1024 : 0,
      }
      await writeFile(join(work, 'reproxy.json'), JSON.stringify(config))
      const args = ['--config', join(work, 'reproxy.json'), '--log-level', 'error']
      const child = fork(main, args, { env: {} })
      const ended = once(child, 'exit').then(() => {
        throw new Error('the reproxy has ended')
      })
      const [{ listening }] = (await Promise.race([once(child, 'message'), ended])) as [
        { listening: Record<string, string> },
      ]
      ended.catch(() => {}) // it is ended below
      atEnd(async () => {
        child.kill('SIGTERM')
        await once(child, 'exit')
      })
      const load = { size, concurrency: atOnce(kib), atEnd }
      const subject = await getting(Number(listening['http']?.split(':').at(-1)), load)
      const baseline = await getting(front, load)
      await until('both answer', async () => (await subject()) + (await baseline()) === 2)
      return { subject, baseline }
    },
  }),
)
