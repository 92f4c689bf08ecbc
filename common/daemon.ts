/** The life of a daemon process: read the settings, start, serve until a signal, close, end. */
import type Type from 'typebox'
import { ConfigError, describeConfig, loadConfig, type ConfigInput } from './config.ts'
import { createLogger, type Logger, type LogLevel } from './log.ts'

/** Something that is started and closed. */
export interface Service {
  /** Resolves when the service is ready. */
  start(): Promise<void>
  /** Undoes `start`, in reverse order. May be called twice, and before `start`. */
  close(): Promise<void>
}

/** What the `create…` functions of the daemons return. */
export interface Daemon extends Service {
  /** The addresses that it listens on, as HOST:PORT by name. Only after `start`. */
  listening(): Listening
  /** Resolves with the reason when it should close without a signal, as after `!shutdown` over the network. */
  readonly ending?: Promise<string>
  /** Reads its settings again, on SIGHUP. Rejects when they cannot be used, and keeps those it has. */
  reload?(): Promise<void>
  /** Milliseconds it has to close, as its settings are then, before the process is ended with status 1. */
  closeMs?(): number
}

/** Addresses as HOST:PORT, by name: `http`, `wire`, `side`. */
export type Listening = Readonly<Record<string, string>>

/** The message to the process that forked a daemon, once the daemon serves. */
export interface ReadyMessage {
  readonly ready: true
  readonly listening: Listening
}

export interface Program<Config extends Type.TObject> {
  /** The command after `omg`. */
  readonly name: string
  /** One sentence for `--help`. */
  readonly summary: string
  readonly schema: Config
  /** Prefix of its settings in the environment. */
  readonly envPrefix: string
  /** Throws ConfigError when the settings do not fit together. */
  readonly create: (config: Type.Static<Config> & { logLevel: LogLevel }, log: Logger) => Daemon
}

/** A program with its settings read. */
interface Configured {
  readonly daemon: Daemon
  readonly log: Logger
}

/** Reads the settings and creates the daemon, which is to run in this process. Throws ConfigError. */
export function configure<Config extends Type.TObject>(
  { name, schema, envPrefix, create }: Program<Config>,
  { args, env, fd }: Omit<ConfigInput, 'prefix'> & { readonly fd?: 1 | 2 },
): Configured {
  const config = loadConfig(schema, { args, env, prefix: envPrefix }) as Parameters<
    typeof create
  >[0]
  const log = createLogger(name, { level: config.logLevel, ...(fd ? { fd } : {}) })
  return { daemon: create(config, log), log }
}

/**
 * Runs one daemon as this process. `--help` prints its settings. When a setting cannot be used, it prints
 * one line on standard error, and the exit status is 2.
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
async function runDaemon({ daemon, log }: Configured): Promise<void> {
  let closing = false
  const end = (reason: string): void => {
    if (closing) return
    closing = true
    log.info({ reason }, 'closing')
    const deadline = setTimeout(() => {
      log.error('did not close in time')
      process.exit(1)
    }, daemon.closeMs?.() ?? defaultCloseMs)
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
