/** nginx with its dav module in the place of a storage node. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '../helpers/edges.ts'
import { until } from '../helpers/until.ts'
import { send } from './node.ts'

const program = '/usr/sbin/nginx'

/** Why there is no nginx here; false when there is one. With CI=true it must be there. */
export const noNginx = ((): string | false => {
  const { status, stderr } = spawnSync(program, ['-V'], { encoding: 'utf8' })
  if (status === 0 && stderr.includes('dav')) return false
  if (process.env['CI'] === 'true') throw new Error(`${program} with its dav module is needed`)
  return 'needs nginx with its dav module'
})()

/** Serves the devices `dev<N>` below `root` as documented for nginx as a node; returns the port. */
export async function startNginx(
  t: Pick<Test, 'teardown'>,
  root: string,
  devids: readonly number[],
): Promise<{ readonly port: number; readonly pid: number }> {
  const port = await freePort()
  const run = join(root, 'nginx')
  for (const name of ['body', 'other']) mkdirSync(join(run, name), { recursive: true })
  for (const devid of devids) mkdirSync(join(root, `dev${devid}`), { recursive: true })
  const locations = devids.map(
    devid => `location /dev${devid} { dav_methods PUT DELETE; create_full_put_path on;
      dav_access user:rw group:r all:r; client_max_body_size 0; }`,
  )
  const other = ['proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(run, 'nginx.conf'),
    `worker_processes 1; daemon off; pid ${run}/pid; error_log ${run}/error.log;
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 1024; }
    http { access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000;
      client_body_temp_path ${run}/body; client_body_buffer_size 1m;
      ${other.map(name => `${name}_temp_path ${run}/other;`).join('\n')}
      server { listen 127.0.0.1:${port}; root ${root}; merge_slashes on;
        location / { autoindex on; } ${locations.join('\n')} } }`,
  )
  const child = spawn(program, ['-c', join(run, 'nginx.conf'), '-p', run], { stdio: 'ignore' })
  const ended = new Promise(resolve => child.on('exit', resolve))
  t.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  await until('nginx serves', async () => (await send(port, 'GET', '/')).status === 200)
  return { port, pid: child.pid! }
}
