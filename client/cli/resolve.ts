/** Names of machines into addresses: hosts are registered by address. */
import { lookup } from 'node:dns/promises'
import { CommandFailure } from './failure.ts'

/** The address that `name` stands for; an address stands for itself. Throws CommandFailure. */
export async function resolveAddress(name: string): Promise<string> {
  if (name === '') throw new CommandFailure('a machine without a name has no address')
  try {
    return (await lookup(name)).address
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    throw new CommandFailure(`${JSON.stringify(name)} has no address (${code})`)
  }
}
