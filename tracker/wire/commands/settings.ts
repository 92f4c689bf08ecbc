/** Cluster-wide settings. */
import { CodedError } from '../../../common/errors.ts'
import { findSetting, listSettings, setSetting } from '../../commands/settings.ts'
import { utf8ToWire, type Pair } from '../codec.ts'
import type { Handlers } from './args.ts'

export const settingCommands: Handlers = {
  async server_setting(ctx, args) {
    const name = args.text('key')
    if (!args.flag('key')) throw new CodedError('bad_params', 'no key given')
    await ctx.cluster.refresh()
    return [
      ['key', utf8ToWire(name)],
      ['value', utf8ToWire(findSetting(ctx, name) ?? '')],
    ]
  },

  async server_settings(ctx) {
    await ctx.cluster.refresh()
    const settings = listSettings(ctx)
    if (settings.length === 0) return []
    return [
      ['key_count', settings.length],
      ...settings.flatMap(([name, value], i): Pair[] => [
        [`key_${i + 1}`, utf8ToWire(name)],
        [`value_${i + 1}`, utf8ToWire(value)],
      ]),
    ]
  },

  async set_server_setting(ctx, args, caller) {
    if (!args.flag('key')) throw new CodedError('bad_params', 'no key given')
    const value = args.has('value') ? args.text('value') : undefined
    await setSetting(ctx, { name: args.text('key'), value }, caller)
    return []
  },
}
