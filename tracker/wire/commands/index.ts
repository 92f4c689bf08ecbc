/** The words of the line protocol, mapped onto the tracker's commands. */
import { CodedError } from '../../../common/errors.ts'
import type { Context } from '../../cluster/context.ts'
import { asDatabaseError } from '../../commands/database-errors.ts'
import { formatOk } from '../codec.ts'
import type { WireRequest } from '../server.ts'
import { Args } from './args.ts'
import { debugCommands } from './debug.ts'
import { domainCommands } from './domains.ts'
import { fileCommands } from './files.ts'
import { hostCommands } from './hosts.ts'
import { settingCommands } from './settings.ts'
import { upkeepCommands } from './upkeep.ts'

const commands = [
  fileCommands,
  domainCommands,
  hostCommands,
  settingCommands,
  debugCommands,
  upkeepCommands,
]

/** Answers requests with whole reply lines. Throws CodedError for the `ERR` ones. */
export function createWireHandler(ctx: Context): (request: WireRequest) => Promise<string> {
  const table = new Map(commands.flatMap(handlers => Object.entries(handlers)))
  return async ({ command, args, callid, remoteAddress }) => {
    const handler = table.get(command)
    if (!handler) throw new CodedError('unknown_command', `no command ${command}`)
    const caller = { actor: 'line protocol', address: remoteAddress }
    try {
      return formatOk(await handler(ctx, new Args(args), caller), callid)
    } catch (err) {
      throw asDatabaseError(err)
    }
  }
}
