/** Domains and classes. */
import type { Context } from '../../cluster/context.ts'
import {
  changeClass,
  createClass,
  createDomain,
  deleteClass,
  deleteDomain,
  listDomains,
} from '../../commands/domains.ts'
import type { Caller } from '../../store/audit.ts'
import { utf8ToWire, type Pair } from '../codec.ts'
import type { Args, Handler, Handlers } from './args.ts'

/** Longest names and policies, in characters. */
const maxDomain = 255
const maxClass = 50
const maxPolicy = 255

const putClass = async (
  put: typeof createClass,
  { ctx, args, caller }: { ctx: Context; args: Args; caller: Caller },
): Promise<Pair[]> => {
  // Policies are written over several lines, too.
  const policy = args.text('replpolicy').replaceAll(/\s/g, ' ')
  const change = {
    mindevcount: args.number('mindevcount'),
    // A policy cannot be taken back, only replaced.
    ...(policy === '' ? {} : { replpolicy: args.kept('replpolicy', maxPolicy, policy) }),
    ...(args.text('hashtype') === '' ? {} : { hashtype: args.text('hashtype') }),
  }
  const domain = args.name('domain', maxDomain)
  const row = await put(ctx, { domain, name: args.name('class', maxClass), ...change }, caller)
  return [
    ['class', utf8ToWire(row.name)],
    ['mindevcount', row.mindevcount],
    ['domain', utf8ToWire(domain)],
  ]
}

/** A change that is answered after a look at the devices, as MogileFS does it and its tools rely on. */
const observed =
  (change: Handler): Handler =>
  async (ctx, args, caller) => {
    const pairs = await change(ctx, args, caller)
    await ctx.monitorRound()
    return pairs
  }

export const domainCommands: Handlers = {
  get_domains(ctx) {
    const domains = listDomains(ctx)
    return [
      ['domains', domains.length],
      ...domains.flatMap(({ name, classes }, i): Pair[] => {
        const domain = `domain${i + 1}`
        return [
          [domain, utf8ToWire(name)],
          [`${domain}classes`, classes.size],
          ...[...classes.values()].flatMap((row, j): Pair[] => [
            [`${domain}class${j + 1}name`, utf8ToWire(row.name)],
            [`${domain}class${j + 1}mindevcount`, row.mindevcount],
            [`${domain}class${j + 1}replpolicy`, row.replpolicy || 'MultipleHosts()'],
            [`${domain}class${j + 1}hashtype`, row.hashtype],
          ]),
        ]
      }),
    ]
  },

  create_domain: observed(async (ctx, args, caller) => {
    const { name } = await createDomain(ctx, args.name('domain', maxDomain), caller)
    return [['domain', utf8ToWire(name)]]
  }),

  delete_domain: observed(async (ctx, args, caller) => {
    const name = args.name('domain', maxDomain)
    await deleteDomain(ctx, name, caller)
    return [['domain', utf8ToWire(name)]]
  }),

  create_class: observed((ctx, args, caller) =>
    putClass(args.flag('update') ? changeClass : createClass, { ctx, args, caller }),
  ),

  update_class: observed((ctx, args, caller) => putClass(changeClass, { ctx, args, caller })),

  delete_class: observed(async (ctx, args, caller) => {
    const domain = args.name('domain', maxDomain)
    const name = args.name('class', maxClass)
    await deleteClass(ctx, { domain, name }, caller)
    return [
      ['domain', utf8ToWire(domain)],
      ['class', utf8ToWire(name)],
    ]
  }),
}
