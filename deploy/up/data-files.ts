/** Files of `omg up` in its data directory: secrets, the directories of devices, and a lock. */
import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../../common/config.ts'

/** The secret in `file`. When there is none, a new one is written there: 256 random bits, base64url. */
export async function keptSecret(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err
  }
  const secret = randomBytes(32).toString('base64url')
  await writeSecret(file, secret)
  return secret
}

/** Writes a file of mode 0600, whole or not at all. */
export async function writeSecret(file: string, secret: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`
  const handle = await open(temporary, 'w', 0o600)
  try {
    await handle.writeFile(`${secret}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
}

/** The directories of the devices: `<data>/node1/dev1` and so on. Creates those that are missing. */
export async function makeDevices(
  data: string,
  { hosts, devices }: { hosts: number; devices: number },
): Promise<{ name: string; root: string; devids: number[] }[]> {
  const layout = Array.from({ length: hosts }, (_, h) => ({
    name: `node${h + 1}`,
    root: join(data, `node${h + 1}`),
    devids: Array.from({ length: devices }, (__, d) => h * devices + d + 1),
  }))
  for (const { root, devids } of layout) {
    for (const devid of devids) await mkdir(join(root, `dev${devid}`), { recursive: true })
  }
  return layout
}

/**
 * Locks `data` for this process; the returned function unlocks it. The lock of a process that was killed
 * is taken over. Throws ConfigError while another process holds it.
 */
export async function lockData(data: string): Promise<() => Promise<void>> {
  const file = join(data, 'omg-up.pid')
  for (;;) {
    try {
      const handle = await open(file, 'wx')
      await handle.writeFile(`${process.pid}\n`)
      await handle.close()
      return () => rm(file, { force: true })
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err
    }
    const pid = Number(await readFile(file, 'utf8').catch(() => ''))
    if (pid > 0 && pid !== process.pid && (await isOmg(pid))) {
      throw new ConfigError(`--data: ${data} is in use by process ${pid}`)
    }
    await rm(file, { force: true })
  }
}

/** True when process `pid` is alive and may be `omg`: where it can be found out, it runs Node. */
async function isOmg(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'EPERM'
  }
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
  return command === undefined || command.includes('node') || command.includes('omg')
}
