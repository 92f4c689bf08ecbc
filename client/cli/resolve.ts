/** The addresses of machines. Hosts are registered by address, not by name. */
import { lookup } from 'node:dns/promises'
import { CommandFailure } from './failure.ts'

/** The IP address of the machine `name`; an address stands for itself. Throws CommandFailure. */
export async function resolveAddress(name: string): Promise<string> {
  if (name === '') throw new CommandFailure('the name of the machine is empty')
  try {
    return (await lookup(name)).address
  } catch (err) {
    const { code } = err as NodeJS.ErrnoException
    throw new CommandFailure(
      `no address was found for ${JSON.stringify(name)} (${code}): give --ip, or check the name`,
    )
  }
}
