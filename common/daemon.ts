/** The life of a daemon process: read settings, start, serve until a signal, close, and be gone. */
import type Type from 'typebox'
import { ConfigError, describeConfig, loadConfig, type ConfigInput } from './config.ts'
import { createLogger, type Logger, type LogLevel } from './log.ts'

/** Something with a life of its own. */
export interface Service {
  /** Resolves when it serves. */
  start(): Promise<void>
  /** Undoes `start` in reverse; may be called twice, and before `start`. */
  close(): Promise<void>
}

/** What the `create…` functions of the daemons return. */
export interface Daemon extends Service {
  /** Where it listens, by name, as HOST:PORT; after `start`. */
  listening(): Listening
  /** Resolves with the reason once it closes by itself: somebody told it to over the network. */
  readonly ending?: Promise<string>
  /** Reads its settings anew (SIGHUP). Rejects, and goes on as it was, when they cannot be used. */
  reload?(): Promise<void>
}

export type Listening = Readonly<Record<string, string>>

/** What a daemon tells the process that forked it, once it serves. */
export interface ReadyMessage {
  readonly ready: true
  readonly listening: Listening
}

export interface Program<Config extends Type.TObject> {
  /** As typed behind `omg`. */
  readonly name: string
  /** One sentence for `--help`. */
  readonly summary: string
  readonly schema: Config
  /** What stands before a setting's name in the environment. */
  readonly envPrefix: string
  /** Throws ConfigError when the settings do not go together. */
  readonly create: (config: Type.Static<Config> & { logLevel: LogLevel }, log: Logger) => Daemon
  /** Milliseconds it has to close before the process is ended with status 1. */
  readonly closeMs?: (config: Type.Static<Config>) => number
}

/** A program with its settings read. */
interface Configured {
  readonly daemon: Daemon
  readonly log: Logger
  readonly closeMs: number
}

/** Reads the settings and creates the daemon, to run in this process. Throws ConfigError. */
export function configure<Config extends Type.TObject>(
  { name, schema, envPrefix, create, closeMs }: Program<Config>,
  { args, env, fd }: Omit<ConfigInput, 'prefix'> & { readonly fd?: 1 | 2 },
): Configured {
  const config = loadConfig(schema, { args, env, prefix: envPrefix }) as Parameters<
    typeof create
  >[0]
  const log = createLogger(name, { level: config.logLevel, ...(fd ? { fd } : {}) })
  const daemon = create(config, log)
  return { daemon, log, closeMs: closeMs?.(config) ?? defaultCloseMs }
}

/**
 * Runs one daemon as this process. `--help` prints its settings; a setting that cannot be used ends
 * it with status 2 and one line on standard error.
 */
export async function runProgram<Config extends Type.TObject>(
  program: Program<Config>,
  args: ConfigInput['args'],
  env: ConfigInput['env'],
): Promise<void> {
  const { name, summary, schema, envPrefix } = program
  if (args.includes('--help') || args.includes('-h')) {
    const settings = describeConfig(schema, envPrefix)
    process.stdout.write(`Usage: omg ${name} [settings]\n\n${summary}\n\n${settings}\n`)
    return
  }
  let configured: Configured
  try {
    configured = configure(program, { args, env })
  } catch (err) {
    if (!(err instanceof ConfigError)) throw err
    process.stderr.write(`omg ${name}: ${err.message}\n`)
    process.exitCode = 2
    return
  }
  await runDaemon(configured)
}

const defaultCloseMs = 20_000

/**
 * Starts `daemon` and runs it until SIGTERM, SIGINT or the end of the parent that forked us with an
 * IPC channel. The first signal closes; the deadline, or a failed start, exits 1, a start that fails
 * for its settings 2.
 */
async function runDaemon({ daemon, log, closeMs }: Configured): Promise<void> {
  let closing = false
  const end = (reason: string): void => {
    if (closing) return
    closing = true
    log.info({ reason }, 'closing')
    const deadline = setTimeout(() => {
      log.error('did not close in time')
      process.exit(1)
    }, closeMs)
    daemon.close().then(
      () => {
        clearTimeout(deadline)
        // An open IPC channel would keep the process alive.
        if (process.connected) process.disconnect()
      },
      (err: unknown) => {
        log.error({ err }, 'close failed')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', () => end('SIGTERM'))
  process.on('SIGINT', () => end('SIGINT'))
  process.on('disconnect', () => end('parent is gone'))
  if (daemon.reload) {
    process.on('SIGHUP', () => {
      daemon.reload?.().then(
        () => log.info('settings read anew'),
        (err: unknown) => log.error({ err }, 'the settings stay as they were'),
      )
    })
  }
  void daemon.ending?.then(end)
  try {
    await daemon.start()
    const message: ReadyMessage = { ready: true, listening: daemon.listening() }
    process.send?.(message)
  } catch (err) {
    log.fatal({ err }, 'start failed')
    await daemon.close().catch(() => {})
    process.exit(err instanceof ConfigError ? 2 : 1)
  }
}
