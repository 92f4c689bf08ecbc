/** `omg rm`: files out of the cluster. */
import type { Command } from 'commander'
import { isFolder, parseAddress, parseFile, type Address } from './address.ts'
import type { Cli } from './command.ts'
import { confirm } from './confirm.ts'
import { isAbsent, outcomeOf, ToldFailure, UsageError } from './failure.ts'
import { eachOf } from './parallel.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { printable, printableKey } from './text.ts'

interface Options extends ConnectionOptions {
  readonly recursive?: boolean
  readonly yes?: boolean
}

/** Files that are deleted at the same time. */
const concurrency = 8

/** Adds the command. */
export function addRm(program: Command, cli: Cli): void {
  const command = cli
    .online(program, 'rm', 'delete files')
    .argument('<DOMAIN:KEY...>')
    .option('-r, --recursive', 'everything below folders, which end with /; DOMAIN: is all of it')
    .option('--yes', 'do not ask')
  command.action((addresses: string[], options: Options) =>
    cli.run(command, options, async session => {
      if (options.recursive) await removeFolders(addresses, { session, yes: options.yes })
      else await removeFiles(addresses.map(parseFile), session)
    }),
  )
}

/** Deletes them all, or as many as there are; one that is missing does not keep the others. */
async function removeFiles(files: readonly Address[], session: Session): Promise<void> {
  let missing: number | undefined
  for (const file of files) {
    try {
      session.signal.throwIfAborted()
      await removeOne(file.domain, file, session)
    } catch (err) {
      if (!isAbsent(err)) throw err
      const { status, text } = outcomeOf(err)
      missing = status
      session.out.note(text ?? '')
    }
  }
  if (missing !== undefined) throw new ToldFailure(missing)
}

async function removeFolders(
  addresses: readonly string[],
  { session, yes }: { session: Session; yes: boolean | undefined },
): Promise<void> {
  const folders = addresses.map(parseAddress)
  for (const [i, { key }] of folders.entries()) {
    if (!isFolder(key)) {
      throw new UsageError(`a folder ends with /: ${JSON.stringify(`${addresses[i]}/`)}`)
    }
  }
  const what = `every file in ${addresses.map(address => JSON.stringify(address)).join(', ')}`
  await confirm(session, { what: `delete ${what}`, yes })
  const { client, signal } = session
  for (const { domain, key: prefix } of folders) {
    await eachOf(client(domain).list({ prefix, signal }), { concurrency, signal }, file =>
      // Whoever else deletes it at the same time wants the same.
      removeOne(domain, file, session).catch((err: unknown) => {
        if (!isAbsent(err)) throw err
      }),
    )
  }
}

async function removeOne(
  domain: string,
  file: { readonly key: string; readonly keyBytes?: Uint8Array },
  { api, signal, out, json }: Session,
): Promise<void> {
  await api.remove({ domain, key: file.keyBytes ?? file.key }, { signal })
  const { key, keyBytes } = file
  if (json) {
    const bytes = keyBytes && { keyBytes: Buffer.from(keyBytes).toString('base64url') }
    await out.step(JSON.stringify({ domain, key, ...bytes }))
  } else await out.step(`${printable(domain)}:${printableKey(file)}`)
}
