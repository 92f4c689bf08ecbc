/** Rehearsed changes: the change itself, in a transaction that is rolled back. */
import type { Consequences, Rehearsal } from '../../common/protocol/rehearsal.ts'
import type { Context } from '../cluster/context.ts'
import { holdsFiles } from '../policy/device.ts'
import type { Caller } from '../store/audit.ts'
import type { Db } from '../store/db.ts'
import { countCopies } from '../store/replicas.ts'
import { deleteClass, deleteDomain } from './domains.ts'
import { drainDevice, drainHost } from './drains.ts'
import { changeDevice, changeHost, deleteHost } from './hosts.ts'
import { resetRebalance } from './rebalance.ts'
import { purgeTrash } from './trash.ts'

/** What the change would cost. Throws what the change itself would; nothing is changed. */
export async function rehearse(
  ctx: Context,
  change: Rehearsal,
  caller: Caller,
): Promise<Consequences> {
  const undo = new Error('only rehearsed')
  let cost: Consequences = {}
  try {
    await ctx.db.transaction(async tx => {
      cost = await perform(within(ctx, tx), change, caller)
      throw undo
    })
  } catch (err) {
    if (err !== undo) throw err
  }
  return cost
}

/** The context of a command whose transactions are part of `tx`, and of which no worker is told. */
const within = (ctx: Context, tx: Db): Context => ({
  ...ctx,
  db: {
    query: statement => tx.query(statement),
    transaction: work => work(tx),
    close: async () => {},
  },
  wake() {},
  monitorRound: async () => {},
})

async function perform(ctx: Context, change: Rehearsal, caller: Caller): Promise<Consequences> {
  switch (change.action) {
    case 'domain.delete':
      return deleteDomain(ctx, change.domain, caller)
    case 'class.delete':
      await deleteClass(ctx, { domain: change.domain, name: change.class }, caller)
      return {}
    case 'trash.empty':
      return { trash: await purgeTrash(ctx, change.domain, caller) }
    case 'host.delete':
      await deleteHost(ctx, change.host, caller)
      return {}
    case 'host.change':
      await changeHost(ctx, { name: change.host, ...change.change }, caller)
      return {}
    case 'host.drain':
      await drainHost(ctx, change.host, caller)
      return copiesOn(ctx, ({ host }) => host.name === change.host)
    case 'device.change':
      await changeDevice(ctx, { devid: change.devid, ...change.change }, caller)
      return change.change.status === 'dead'
        ? copiesOn(ctx, ({ devid }) => devid === change.devid)
        : {}
    case 'device.drain':
      await drainDevice(ctx, change.devid, caller)
      return copiesOn(ctx, ({ devid }) => devid === change.devid)
    case 'rebalance.reset':
      await resetRebalance(ctx, caller)
      return {}
  }
}

type Device = ReturnType<Context['cluster']['devices']>[number]

/** What lies on the chosen devices, and how much of it on no other that counts. */
function copiesOn(
  { db, cluster }: Context,
  isChosen: (device: Device) => boolean,
): Promise<Consequences> {
  const devices = cluster.devices()
  const idsOf = (some: readonly Device[]): number[] => some.map(({ devid }) => devid)
  return countCopies(db, {
    devids: idsOf(devices.filter(isChosen)),
    others: idsOf(devices.filter(device => !isChosen(device) && holdsFiles(device))),
  })
}
