import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { replicaPath } from '../../common/layout.ts'
import { startDaemon } from './daemon.ts'
import { noFaults } from './faulty-disk.ts'
import { send, startNode } from './node.ts'

/** Notes each call that makes, names or flushes something in the file LOG names, when it has been made. */
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define REAL(name, type) ((type)dlsym(RTLD_NEXT, name))
static int note(int result, const char *call, const char *path) {
  char line[4200];
  int length = snprintf(line, sizeof line, "%s %s\\n", call, path);
  int log = result == 0 ? open(getenv("LOG"), O_WRONLY | O_APPEND | O_CREAT, 0644) : -1;
  if (log >= 0 && write(log, line, length) == length) close(log);
  return result;
}
static int flushed(int fd, const char *call) {
  char link[64], target[4096] = {0};
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, target, sizeof target - 1) < 0) return -1;
  return note(REAL(call, int (*)(int))(fd), call, target);
}
int fsync(int fd) { return flushed(fd, "fsync"); }
int fdatasync(int fd) { return flushed(fd, "fdatasync"); }
int mkdir(const char *path, mode_t mode) {
  return note(REAL("mkdir", int (*)(const char *, mode_t))(path, mode), "mkdir", path);
}
int rename(const char *from, const char *to) {
  return note(REAL("rename", int (*)(const char *, const char *))(from, to), "name", to);
}
int link(const char *from, const char *to) {
  return note(REAL("link", int (*)(const char *, const char *))(from, to), "name", to);
}
int unlink(const char *path) {
  return note(REAL("unlink", int (*)(const char *))(path), "unlink", path);
}
`

void t.test(
  'bytes, directories and names are flushed in this order, and before the answer',
  { skip: noFaults },
  async t => {
    const root = t.testdir()
    const device = join(root, 'dev1')
    mkdirSync(device)
    const [code, library, log] = ['shim.c', 'shim.so', 'log'].map(name => join(root, name))
    writeFileSync(code!, source)
    execFileSync('cc', ['-shared', '-fPIC', '-o', library!, code!, '-ldl'])
    const from = await startNode(t, { root: join(root, 'source'), devices: [2] })
    const env = { LD_PRELOAD: library!, LOG: log! }
    const node = await startDaemon(t, root, env, ['--sources', `127.0.0.1:${from.port}`])

    /** What a request has had done by the time of its answer; its temporary file is called `TEMP`. */
    const doneBy = async (
      method: string,
      fid: number,
      { body = '', headers = {} } = {},
    ): Promise<string[]> => {
      writeFileSync(log!, '')
      const { status } = await send(node.port, method, replicaPath({ devid: 1, fid }), {
        body,
        headers,
      })
      t.ok(status === 201 || status === 204, `${method}: ${status}`)
      const lines = existsSync(log!) ? readFileSync(log!, 'utf8').trim().split('\n') : []
      return lines.map(line => line.replace(device, 'dev1').replace(/\.tmp\/.*\.tmp$/, '.tmp/TEMP'))
    }
    const stored = (path: string): string[] => [
      'fdatasync dev1/.tmp/TEMP',
      `name dev1/${path}`,
      `fsync dev1/${path.slice(0, path.lastIndexOf('/'))}`,
    ]

    const made = ['mkdir dev1/0', 'fsync dev1', 'mkdir dev1/0/000', 'fsync dev1/0']
    const file = '0/000/000/0000000007.fid'
    t.same(await doneBy('PUT', 7, { body: 'x' }), [
      'fdatasync dev1/.tmp/TEMP',
      ...made,
      'mkdir dev1/0/000/000',
      'fsync dev1/0/000',
      ...stored(file).slice(1),
    ])
    t.same(await doneBy('PUT', 7, { body: 'y' }), stored(file), 'over what is there')
    t.same(await doneBy('DELETE', 7), [`unlink dev1/${file}`, 'fsync dev1/0/000/000'])

    const source8 = replicaPath({ devid: 2, fid: 8 })
    await from.send('PUT', source8, { body: 'z' })
    const headers = { source: `http://127.0.0.1:${from.port}${source8}` }
    t.same(await doneBy('COPY', 8, { headers }), stored('0/000/000/0000000008.fid'))
    await node.kill('SIGTERM')
  },
)
