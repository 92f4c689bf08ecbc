/** The photo application as a process of its own. */
import Type from 'typebox'
import { createClient } from '../../client/index.ts'
import { runProgram, type Daemon, type Program } from '../../common/daemon.ts'
import { LogLevel, type Logger } from '../../common/log.ts'
import { createPhotoApp } from './app.ts'

/** Settings of the photo application. */
export const PhotoAppConfig = Type.Object({
  listen: Type.String({ default: '127.0.0.1:7081', description: 'HOST:PORT to serve on' }),
  trackers: Type.String({
    default: 'http://127.0.0.1:7002',
    description: 'HTTP addresses of the trackers, separated by commas',
  }),
  token: Type.String({ secret: true, minLength: 1, description: 'token that may write to domain' }),
  domain: Type.String({ default: 'photos', description: 'domain that holds the pictures' }),
  logLevel: LogLevel,
})
export type PhotoAppConfig = Type.Static<typeof PhotoAppConfig>

/** Creates the application with a client of its own, which it closes with itself. */
export function createPhotoDaemon(
  { listen, trackers, token, domain }: Omit<PhotoAppConfig, 'logLevel'>,
  log: Logger,
): Daemon {
  const files = createClient({ trackers: trackers.split(',').map(t => t.trim()), token, domain })
  const app = createPhotoApp({ files, listen, log })
  return {
    start: () => app.start(),
    close: async () => {
      await app.close()
      await files.close()
    },
    listening: () => app.listening(),
  }
}

/** How it is run, in a process of its own or in another's. */
export const program: Program<typeof PhotoAppConfig> = {
  name: 'photo-app',
  summary: 'A photo gallery behind the reproxy.',
  schema: PhotoAppConfig,
  envPrefix: 'OMG_PHOTOS_',
  create: createPhotoDaemon,
}

/** Runs it until a signal ends it. */
export function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  return runProgram(program, args, env)
}
