/** The logger of a daemon: JSON lines, pretty only on a terminal. */
import { pino, type Logger } from 'pino'
import Type from 'typebox'

export type { Logger } from 'pino'

/** The setting that every daemon has. */
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
  /** File descriptor: 1, or 2 where standard output carries data. */
  readonly fd?: 1 | 2
}

/** Creates the root logger of one daemon, called `name` in every line. */
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
