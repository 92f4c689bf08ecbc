/** A disk with a fault, for a node that is a process of its own: file calls fail or hang when told to. */
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { missing } from '../helpers/missing.ts'

/** Why no fault can be had here; false when one can. */
export const noFaults = missing('a C compiler and LD_PRELOAD', () => {
  execFileSync('cc', ['--version'], { stdio: 'ignore' })
  return process.platform === 'linux'
})

/** Calls on files of device 1, while the file that FAULT names begins with the call's letter. */
const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char told(void) {
  const char *file = getenv("FAULT");
  FILE *open = file ? fopen(file, "r") : NULL;
  char letter = open ? (char)fgetc(open) : 0;
  if (open) fclose(open);
  return letter;
}
static char fault(int fd) {
  char link[64], target[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return 0;
  target[length] = 0;
  return strstr(target, "/dev1/") ? told() : 0;
}
static int flush(int fd, const char *name) {
  if (fault(fd) == 'F') { errno = EIO; return -1; }
  if (fault(fd) == 'H') while (told() == 'H') usleep(10000);
  return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return flush(fd, "fsync"); }
int fdatasync(int fd) { return flush(fd, "fdatasync"); }
ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) {
  if (fault(fd) == 'W') { errno = EIO; return -1; }
  return ((ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, from, size, at);
}
ssize_t pread64(int fd, void *into, size_t size, off64_t at) {
  if (fault(fd) == 'R') { errno = EIO; return -1; }
  if (fault(fd) == 'H') while (told() == 'H') usleep(10000);
  if (fault(fd) == 'M' && at > 0) { errno = EIO; return -1; }
  return ((ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64"))(fd, into, size, at);
}
`

/** `W` writes fail, `F` flushes fail, `H` flushes and reads hang, `R` reads fail, `M` reads behind the first byte of a file fail. */
export type Fault = 'W' | 'F' | 'H' | 'R' | 'M'

export interface FaultyDisk {
  /** For the environment of the node. */
  readonly env: NodeJS.ProcessEnv
  readonly fail: (fault: Fault) => void
  readonly mend: () => void
}

/** Builds what makes device 1 of a node fail; its files lie in `directory`. */
export function makeFaultyDisk(directory: string): FaultyDisk {
  const [code, library, told] = ['shim.c', 'shim.so', 'fault'].map(name => join(directory, name))
  writeFileSync(code!, source)
  execFileSync('cc', ['-shared', '-fPIC', '-o', library!, code!, '-ldl'])
  return {
    env: { LD_PRELOAD: library!, FAULT: told! },
    fail: fault => writeFileSync(told!, fault),
    mend: () => rmSync(told!),
  }
}
