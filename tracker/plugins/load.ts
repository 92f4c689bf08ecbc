/** Reads plugin modules and joins what they offer. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigError } from '../../common/config.ts'
import type { CustomPolicy, Hooks, PluginCommand, TrackerPlugin } from './plugin.ts'

const hookNames: ReadonlySet<string> = new Set<keyof Hooks>([
  'cmd_create_open',
  'cmd_create_open_order_devices',
  'cmd_create_close',
  'file_stored',
  'cmd_updateclass',
  'cmd_delete',
  'cmd_file_info',
  'cmd_file_debug',
  'cmd_get_paths',
  'cmd_get_paths_order_devices',
  'replicate_order_final_choices',
  'replicate_alternate_source',
])

const ownPolicies: ReadonlySet<string> = new Set([
  'MultipleHosts',
  'MultipleDevices',
  'MultipleNetworks',
  'HostsPerNetwork',
  'Union',
])

/** What all plugins together offer. */
export interface Plugins {
  readonly hooks: Hooks
  readonly commands: ReadonlyMap<string, PluginCommand>
  readonly policies: ReadonlyMap<string, CustomPolicy>
}

/**
 * Imports modules, named by their paths from the working directory. Of two hooks or commands of one
 * name the later counts. Throws ConfigError naming the module that cannot be used.
 */
export async function loadPlugins(paths: readonly string[]): Promise<Plugins> {
  const hooks = new Map<string, unknown>()
  const commands = new Map<string, PluginCommand>()
  const policies = new Map<string, CustomPolicy>()
  for (const path of paths) {
    const plugin = await importPlugin(path)
    for (const [name, hook] of Object.entries(plugin.hooks ?? {})) {
      if (!hookNames.has(name)) throw unusable(path, `there is no hook ${name}`)
      if (typeof hook !== 'function') throw unusable(path, `the hook ${name} is not a function`)
      hooks.set(name, hook.bind(plugin.hooks))
    }
    for (const [name, command] of Object.entries(plugin.commands ?? {})) {
      if (!/^[a-z0-9_]+$/.test(name)) throw unusable(path, `no command can be called ${name}`)
      if (typeof command !== 'function')
        throw unusable(path, `the command ${name} is not a function`)
      commands.set(name, command.bind(plugin.commands))
    }
    for (const [name, policy] of Object.entries(plugin.policies ?? {})) {
      if (!/^\w+$/.test(name) || ownPolicies.has(name)) {
        throw unusable(path, `no policy can be called ${name}`)
      }
      if (typeof policy !== 'function') throw unusable(path, `the policy ${name} is not a function`)
      policies.set(name, policy.bind(plugin.policies))
    }
  }
  // All names are those of hooks, and all values functions.
  return { hooks: Object.fromEntries(hooks) as Hooks, commands, policies }
}

async function importPlugin(path: string): Promise<TrackerPlugin> {
  let module: { readonly plugin?: unknown }
  try {
    module = (await importModule(resolve(path))) as typeof module
  } catch (err) {
    throw unusable(path, err instanceof Error ? (err.message.split('\n')[0] ?? '') : String(err))
  }
  const { plugin } = module
  if (typeof plugin !== 'object' || plugin === null) throw unusable(path, 'exports no plugin')
  if (!('name' in plugin) || typeof plugin.name !== 'string') {
    throw unusable(path, 'its plugin has no name')
  }
  return plugin as TrackerPlugin
}

/** Node before 22.18 does not load TypeScript by itself. */
async function importModule(path: string): Promise<unknown> {
  if (!/\.m?ts$/.test(path)) return import(pathToFileURL(path).href)
  const { createJiti } = await import('jiti')
  return createJiti(import.meta.url, { fsCache: false, moduleCache: false }).import(path)
}

const unusable = (path: string, why: string): ConfigError =>
  new ConfigError(`--plugins: ${path}: ${why}`)
