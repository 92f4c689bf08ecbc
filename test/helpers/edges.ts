/** The programs that our daemons are compared with: nginx and Perlbal, from Debian's packages. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { until } from './until.ts'

const find = (name: string): string | undefined =>
  ['/usr/sbin', '/usr/local/sbin', '/usr/bin', '/usr/local/bin']
    .map(dir => join(dir, name))
    .find(existsSync)

/** Their paths; undefined when they are not installed. */
export const nginx = find('nginx')
export const perlbal = find('perlbal')

/** Registers a function that is called at the end of the test or benchmark. */
export type AtEnd = (close: () => Promise<void>) => void

/** A port that is free at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Runs nginx with `servers`, blocks of its configuration. One of them listens on `port`. */
export async function startNginx(
  { dir, port, atEnd }: { readonly dir: string; readonly port: number; readonly atEnd: AtEnd },
  servers: string,
): Promise<void> {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map(name => `${name}_temp_path ${join(dir, name)};`)
    .join('\n')
  // nginx only changes its user when it is root; then it must be able to read the files of the test.
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const file = join(dir, 'nginx.conf')
  await writeFile(
    file,
    `${user} daemon off; master_process off; pid ${join(dir, 'pid')}; error_log stderr crit;
events { worker_connections 4096; }
http {
${temporary}
access_log off; keepalive_requests 1000000;
${servers}
}
`,
  )
  await run(nginx ?? 'nginx', ['-p', dir, '-c', file], { port, atEnd })
}

interface PerlbalOptions {
  readonly dir: string
  readonly port: number
  readonly atEnd: AtEnd
}

/** Runs Perlbal on `port` in front of the application on the port `app`. It follows X-Reproxy fields. */
export async function startPerlbal(options: PerlbalOptions, app: number): Promise<void> {
  await runPerlbal(
    options,
    `CREATE POOL apps
  POOL apps ADD 127.0.0.1:${app}
CREATE SERVICE web
  SET role = reverse_proxy
  SET pool = apps
  SET enable_reproxy = true
  SET persist_client = on
  SET persist_backend = on
  SET verify_backend = off
`,
  )
}

/**
 * Runs Perlbal on `port` as a storage node of MogileFS, with the settings of mogstored. It uses threads for
 * files if Perl has IO::AIO.
 */
export async function startPerlbalNode(options: PerlbalOptions, root: string): Promise<void> {
  await runPerlbal(
    options,
    `SERVER max_connections = 10000
CREATE SERVICE web
  SET role = web_server
  SET docroot = ${root}
  SET dirindexing = 0
  SET enable_put = 1
  SET enable_delete = 1
  SET min_put_directory = 1
  SET persist_client = 1
`,
  )
}

/** Runs Perlbal with a configuration that defines the service `web`. */
async function runPerlbal(
  { dir, port, atEnd }: PerlbalOptions,
  configuration: string,
): Promise<void> {
  const file = join(dir, 'perlbal.conf')
  await writeFile(file, `${configuration}  SET listen = 127.0.0.1:${port}\nENABLE web\n`)
  await run(perlbal ?? 'perlbal', ['--config', file], { port, atEnd })
}

/** Starts a program; resolves when it listens on `port`. */
async function run(
  command: string,
  args: readonly string[],
  { port, atEnd }: { port: number; atEnd: AtEnd },
): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  atEnd(() => stop(child))
  const ended = (): boolean => child.exitCode !== null || child.signalCode !== null
  await until(`${command} listens`, async () => ended() || (await isOpen(port)))
  if (ended()) throw new Error(`${command} has ended: ${errors}`)
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

function isOpen(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
