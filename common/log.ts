/** The logger of a daemon: JSON lines, or readable text on a terminal. */
import { pino, type Logger } from 'pino'
import Type from 'typebox'

export type { Logger } from 'pino'

/** The setting for the log level, which every daemon has. */
export const LogLevel = Type.Union(
  [
    Type.Literal('trace'),
    Type.Literal('debug'),
    Type.Literal('info'),
    Type.Literal('warn'),
    Type.Literal('error'),
    Type.Literal('silent'),
  ],
  { default: 'info', description: 'trace, debug, info, warn, error or silent' },
)
export type LogLevel = Type.Static<typeof LogLevel>

export interface LogOptions {
  readonly level?: LogLevel
  /** File descriptor to write to: 1, or 2 when standard output is for data. */
  readonly fd?: 1 | 2
}

/** Creates the root logger of a daemon; `name` is in every line. */
export function createLogger(name: string, { level = 'info', fd = 1 }: LogOptions = {}): Logger {
  const terminal = (fd === 1 ? process.stdout : process.stderr).isTTY
  if (!terminal) return pino({ name, level }, pino.destination({ dest: fd, sync: true }))
  return pino({
    name,
    level,
    transport: {
      target: 'pino-pretty',
      options: { destination: fd, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss' },
    },
  })
}
