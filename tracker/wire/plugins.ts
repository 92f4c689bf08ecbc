/** Requests of the line protocol with plugins before and behind them. */
import { CodedError, isCoded } from '../../common/errors.ts'
import type { Context } from '../cluster/context.ts'
import { asDatabaseError } from '../commands/database-errors.ts'
import { deleteFile } from '../commands/files.ts'
import { getDomain } from '../commands/lookup.ts'
import type { InnerHooks } from '../plugins/inner-hooks.ts'
import type { Plugins } from '../plugins/load.ts'
import type { Hooks, PluginArgs, PluginRequest, Verdict } from '../plugins/plugin.ts'
import { formatOk, utf8ToWire, wireToUtf8 } from './codec.ts'
import type { WireRequest } from './server.ts'

type Handle = (request: WireRequest) => Promise<string> | string

/** Commands whose hook stops them by answering `false`. */
const stoppable = new Set(['updateclass', 'delete', 'file_info', 'file_debug', 'get_paths'])
const hooked = new Set(['create_open', 'create_close', ...stoppable])

/** What stands before the name of a plugin's command. */
const prefix = 'plugin_'

/**
 * Answers requests as `handle` does, asking the plugins' hooks and running their commands. Throws
 * plugin_aborted where a plugin says no.
 */
export function withPlugins(
  ctx: Context,
  { plugins, inner, handle }: { plugins: Plugins; inner: InnerHooks; handle: Handle },
): Handle {
  return request => {
    const { command } = request
    if (command.startsWith(prefix)) return runCommand(plugins, request)
    const byFid = command === 'file_debug' && isTrue(request.args.get('fid'))
    if (!hooked.has(command) || byFid) return handle(request)
    return withHooks(ctx, plugins.hooks, { request, inner, handle })
  }
}

async function withHooks(
  ctx: Context,
  hooks: Hooks,
  { request, inner, handle }: { request: WireRequest; inner: InnerHooks; handle: Handle },
): Promise<string> {
  const { command, remoteAddress } = request
  const values = new Map(request.args)
  const domain = wireToUtf8(values.get('domain') ?? '')
  const { id } = await getDomain(ctx, domain).catch((err: unknown) => {
    throw asDatabaseError(err)
  })
  values.set('dmid', String(id))
  const asked: PluginRequest = { command, address: remoteAddress, args: createArgs(values) }
  await before(hooks, asked)
  const reply = await inner.within(asked, async () => handle({ ...request, args: values }))
  if (command === 'create_close' && values.get('key')) {
    if (isNo(await hooks.file_stored?.(asked))) await undo(ctx, asked)
  }
  return reply
}

/** Asks the hook that comes before a command. */
async function before(hooks: Hooks, asked: PluginRequest): Promise<void> {
  const { command, args } = asked
  if (command === 'create_open') {
    try {
      await hooks.cmd_create_open?.(asked)
    } catch (err) {
      const text = err instanceof Error ? err.message : String(err)
      throw new CodedError('plugin_aborted', text, { cause: err })
    }
    return
  }
  // Without a key file_debug is wrong before any plugin is asked.
  if (command === 'file_debug' && !args.get('key')) return
  const hook = hooks[`cmd_${command}` as keyof Hooks] as
    ((request: PluginRequest) => Verdict) | undefined
  const verdict = await hook?.(asked)
  if (stoppable.has(command) && isNo(verdict)) throw aborted()
}

/** Deletes what has just been stored, unless it has been replaced already. */
async function undo(ctx: Context, { address, args }: PluginRequest): Promise<never> {
  const ref = {
    domain: args.get('domain') ?? '',
    key: args.bytes('key') ?? Buffer.alloc(0),
    fid: Number.parseInt(args.get('fid') ?? '', 10),
  }
  try {
    await deleteFile(ctx, ref, { actor: 'plugin', address })
  } catch (err) {
    if (!isCoded(err, 'unknown_key')) throw err
  }
  throw aborted()
}

const aborted = (): CodedError => new CodedError('plugin_aborted', 'Action aborted by plugin')

/** False but defined, as MogileFS has it. */
const isNo = (verdict: unknown): boolean => verdict !== undefined && verdict !== null && !verdict

/** As the protocol has it. */
const isTrue = (value: string | undefined): boolean =>
  value !== undefined && value !== '' && value !== '0'

async function runCommand(
  { commands }: Plugins,
  { command, args, callid, remoteAddress }: WireRequest,
): Promise<string> {
  const run = commands.get(command.slice(prefix.length))
  if (!run) throw new CodedError('unknown_command', `no command ${command}`)
  const call = createArgs(new Map(args))
  const count = Math.min(Number.parseInt(call.get('argcount') ?? '', 10) || 0, args.size)
  const reply = await run({
    address: remoteAddress,
    args: call,
    domain: call.get('domain') ?? '',
    values: Array.from({ length: Math.max(0, count) }, (_, i) => call.get(`arg${i + 1}`) ?? ''),
  })
  const pairs = Object.entries(reply ?? {}).map(
    ([name, value]) => [name, typeof value === 'number' ? value : utf8ToWire(value)] as const,
  )
  return formatOk(pairs, callid)
}

/** Arguments, held as wire strings in `values`, as a plugin sees and changes them. */
function createArgs(values: Map<string, string>): PluginArgs {
  const read = <T>(name: string, as: (wire: string) => T): T | undefined => {
    const wire = values.get(utf8ToWire(name))
    return wire === undefined ? undefined : as(wire)
  }
  return {
    has: name => values.has(utf8ToWire(name)),
    get: name => read(name, wireToUtf8),
    bytes: name => read(name, wire => Buffer.from(wire, 'latin1')),
    set(name, value) {
      const wire =
        typeof value === 'string' ? utf8ToWire(value) : Buffer.from(value).toString('latin1')
      values.set(utf8ToWire(name), wire)
    },
    delete(name) {
      values.delete(utf8ToWire(name))
    },
  }
}
