/** `omg rm`: files are deleted. */
import type { Command } from 'commander'
import { addressOf, parseFile, parseFolder, type Address } from './address.ts'
import type { Cli } from './command.ts'
import { destroys, mayDestroy, type DestructiveOptions } from './confirm.ts'
import { isAbsent, outcomeOf, ToldFailure } from './failure.ts'
import { eachOf } from './parallel.ts'
import type { Session } from './session.ts'
import { suggest, suggestRecursive } from './suggest.ts'

interface Options extends DestructiveOptions {
  readonly recursive?: boolean
}

/** Files that are deleted at the same time. */
const concurrency = 8

/** Adds the command. */
export function addRm(program: Command, cli: Cli): void {
  const command = destroys(
    cli.online(program, 'rm', 'delete files', 'one { domain, key, keyBytes?, dryRun? } per line'),
    '',
  )
    .argument('<DOMAIN:KEY...>')
    .option(
      '-r, --recursive',
      'delete everything below folders, KEYs that end with /; DOMAIN: is all of the domain',
    )
  command.action((addresses: string[], options: Options) =>
    cli.run(command, options, async session => {
      if (options.recursive) await removeFolders(addresses, { session, options })
      else await removeFiles(addresses.map(parseFile), { session, options })
    }),
  )
}

/** Deletes files. One that does not exist is reported, and the others are deleted all the same. */
async function removeFiles(
  files: readonly Address[],
  { session, options }: { session: Session; options: Options },
): Promise<void> {
  const { api, signal } = session
  let missing: number | undefined
  for (const file of files) {
    try {
      signal.throwIfAborted()
      if (options.dryRun) {
        await api.stat(file, { signal })
        await report(file.domain, file, { session, options })
      } else await removeOne(file.domain, file, { session, options })
    } catch (err) {
      if (!isAbsent(err)) throw err
      const problem = await suggest(
        suggestRecursive(err, file.key),
        [file.domain, `${file.domain}:${file.key}`],
        session,
      )
      const { status, text } = outcomeOf(problem)
      missing = status
      session.out.note(text ?? '')
    }
  }
  if (missing !== undefined) throw new ToldFailure(missing)
}

async function removeFolders(
  addresses: readonly string[],
  { session, options }: { session: Session; options: Options },
): Promise<void> {
  const folders = addresses.map(parseFolder)
  const what = `every file in ${addresses.map(address => JSON.stringify(address)).join(', ')}`
  if (!options.dryRun) await mayDestroy(`delete ${what}`, options, session)
  const { client, signal } = session
  for (const { domain, key: prefix } of folders) {
    const files = client(domain).list({ prefix, signal })
    if (options.dryRun) {
      for await (const file of files) await report(domain, file, { session, options })
      continue
    }
    await eachOf(files, { concurrency, signal }, file =>
      // Somebody else may have deleted it since it was listed.
      removeOne(domain, file, { session, options }).catch((err: unknown) => {
        if (!isAbsent(err)) throw err
      }),
    )
  }
}

interface Key {
  readonly key: string
  readonly keyBytes?: Uint8Array
}

async function removeOne(
  domain: string,
  file: Key,
  { session, options }: { session: Session; options: Options },
): Promise<void> {
  const { api, signal } = session
  await api.remove({ domain, key: file.keyBytes ?? file.key }, { signal })
  await report(domain, file, { session, options })
}

function report(
  domain: string,
  file: Key,
  { session: { out, json }, options: { dryRun = false } }: { session: Session; options: Options },
): Promise<void> {
  const { key, keyBytes } = file
  if (!json) {
    return out.step(`${dryRun ? 'would delete ' : ''}${addressOf({ domain, key, keyBytes })}`)
  }
  const bytes = keyBytes && { keyBytes: Buffer.from(keyBytes).toString('base64url') }
  return out.step(JSON.stringify({ domain, key, ...bytes, ...(dryRun && { dryRun }) }))
}
