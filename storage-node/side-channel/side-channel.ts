/**
 * The side channel: lines in, lines out, in order. What MogileFS's trackers ask a node beside HTTP:
 * sizes, digests and how busy the disks are (MogileFS-Server, `lib/Mogstored/SideChannelClient.pm`).
 */
import { createServer, type Server, type Socket } from 'node:net'
import { CodedError, isCoded } from '../../common/errors.ts'
import type { Logger } from '../../common/log.ts'
import { isLocal, type AllowList } from '../allow-list.ts'
import { DigestError } from '../digests/digester.ts'
import type { Algorithm } from '../digests/digests.ts'
import type { Devices } from '../device/devices.ts'
import { Utilization } from './iostat.ts'
import { drained } from '../http/send.ts'
import { parseTarget, type Target } from '../http/target.ts'

export interface SideChannelOptions {
  readonly devices: Devices
  readonly allow: AllowList
  readonly log: Logger
  /** Ends the daemon; called at a request from this machine. */
  readonly shutdown: () => void
  /** Lets each disk have so many file calls under way. */
  readonly setFileCalls: (calls: number) => void
  /** Milliseconds between two blocks of `watch`; 1000. */
  readonly watchMs?: number
}

const maxLine = 8 * 1024
const maxConnections = 256

/** Bytes that a subscriber may leave unread before it misses blocks. */
const maxUnread = 64 * 1024

const digestNames: Readonly<Record<string, Algorithm>> = { MD5: 'md5', 'SHA-1': 'sha1' }

/** Creates the server; it listens when told to. Ending it leaves its connections to the caller. */
export function createSideChannel(options: SideChannelOptions): Server {
  const { allow, watchMs = 1_000, log } = options
  const watchers = new Set<Socket>()
  let timer: NodeJS.Timeout | undefined
  const utilization = new Utilization()

  const watch = (socket: Socket): void => {
    watchers.add(socket)
    socket.once('close', () => {
      watchers.delete(socket)
      if (watchers.size > 0) return
      clearTimeout(timer)
      timer = undefined
    })
    timer ??= setTimeout(tick, 0)
  }
  const tick = (): void => {
    void report(options.devices, utilization)
      .catch((err: unknown) => {
        log.warn({ err }, 'utilization cannot be read')
        return undefined
      })
      .then(block => {
        for (const socket of watchers) {
          if (block !== undefined && socket.writableLength < maxUnread) socket.write(block)
        }
        timer = watchers.size > 0 ? setTimeout(tick, watchMs) : undefined
      })
  }

  const server = createServer({ noDelay: true, keepAlive: true }, socket => {
    socket.on('error', () => {})
    if (!allow(socket.remoteAddress)) {
      socket.destroy()
      return
    }
    serve(socket, options, () => watch(socket)).catch(() => socket.destroy())
  })
  server.maxConnections = maxConnections
  return server
}

/** Answers the requests of a connection in their order, until its client leaves or starts to watch. */
async function serve(
  socket: Socket,
  options: SideChannelOptions,
  watch: () => void,
): Promise<void> {
  for await (const line of readLines(socket)) {
    if (line.toLowerCase() === 'watch') {
      watch()
      // Else nobody would hear that it leaves.
      socket.resume()
      return
    }
    const reply = await answer(line, socket, options)
    if (!socket.write(`${reply}\r\n`, 'latin1')) await drained(socket)
  }
}

/** The lines that come, but for empty ones. Throws line_too_long, and what the connection breaks off with. */
async function* readLines(socket: Socket): AsyncGenerator<string, void, undefined> {
  let rest = ''
  socket.setEncoding('latin1')
  const chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterable<string>
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      checkLength(line)
      const request = line.replace(/\r$/, '')
      if (request !== '') yield request
    }
    checkLength(rest)
  }
}

function checkLength({ length }: string): void {
  if (length > maxLine) throw new CodedError('line_too_long', `more than ${maxLine} bytes`)
}

/** The answer to one line. Never rejects. */
async function answer(
  line: string,
  socket: Socket,
  { devices, log, shutdown, setFileCalls }: SideChannelOptions,
): Promise<string> {
  try {
    if (/^shutdown( |$)/.test(line)) {
      if (!isLocal(socket.remoteAddress)) return 'ERROR: not allowed'
      setImmediate(shutdown) // behind the answer
      return 'OK'
    }
    const fileCalls = /^server aio_threads ?= ?(\d{1,9})$/i.exec(line)?.[1]
    if (fileCalls !== undefined) {
      setFileCalls(Number(fileCalls))
      return 'OK'
    }
    const asked = /^(size) (\S+)$/.exec(line) ?? /^(MD5|SHA-1) (\S+)(?:\s+(\w+))?$/.exec(line) ?? []
    const [, word, uri, reason] = asked
    if (word === undefined || uri === undefined) return `ERROR: unknown command: ${shown(line)}`
    if (uri.includes('..')) return 'ERROR: uri invalid (contains ..)'
    const target = findTarget(uri)
    if (word === 'size') return `${shown(uri)} ${await sizeOf(devices, target)}`
    return await digestLine(devices, { word, uri, target, patient: reason === 'fsck' })
  } catch (err) {
    log.error({ err }, 'side channel request failed')
    return 'ERROR: internal error'
  }
}

const shown = (text: string): string => text.replace(/[^\x20-\x7e]/g, '?')

function findTarget(uri: string): Target | undefined {
  try {
    return parseTarget(uri)
  } catch (err) {
    if (isCoded(err)) return undefined
    throw err
  }
}

async function sizeOf(devices: Devices, target: Target | undefined): Promise<number> {
  if (!target || target.hidden || target.directory) return -1
  try {
    const device = await devices.get(target.devid)
    const file = await device.open(target.path)
    device.release(file)
    return file.size
  } catch (err) {
    if (isCoded(err)) return -1
    throw err
  }
}

async function digestLine(
  devices: Devices,
  {
    word,
    uri,
    target,
    patient,
  }: { word: string; uri: string; target: Target | undefined; patient: boolean },
): Promise<string> {
  const algorithm = digestNames[word]
  const missing = `${shown(uri)} ${word}=-1`
  if (!algorithm || !target || target.hidden || target.directory) return missing
  try {
    const device = await devices.get(target.devid)
    const { digests } = await device.digest(target.path, [algorithm], { patient })
    return `${uri} ${word}=${digests[algorithm]?.toString('hex') ?? '-1'}`
  } catch (err) {
    if (!isCoded(err)) throw err
    const { cause } = err
    if (cause instanceof DigestError && cause.offset !== undefined) {
      return `ERR read ${uri} at ${cause.offset} failed`
    }
    return missing
  }
}

/** One block of `watch`: how busy each device is, in percent. */
async function report(devices: Devices, utilization: Utilization): Promise<string> {
  const lines = await Promise.all(
    (await devices.list()).map(async devid => {
      const device = await devices.get(devid).catch(() => undefined)
      const percent = device && (await utilization.of(devid, device.fileSystem))
      // MogileFS's trackers go by whole numbers only.
      return `${devid}\t${percent === undefined ? '-' : Math.round(percent)}\n`
    }),
  )
  return `${lines.join('')}.\n`
}
