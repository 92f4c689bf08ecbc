/** What a soak does, step by step: every choice follows from the seed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { isCoded } from '../../../client/index.ts'
import { sha256Hex } from './bytes.ts'
import { bytesOf, type Model, type State } from './model.ts'
import type { Chance } from './random.ts'
import { classes, domains, type Member, type Soaked } from './system.ts'

export interface Run {
  readonly system: Soaked
  readonly model: Model
  readonly chance: Chance
  /** Numbers of contents by their SHA-256. */
  readonly contents: Map<string, number>
  /** What went wrong, as sentences. */
  readonly wrong: string[]
  /** Steps done, for whoever replays them. */
  readonly log: string[]
}

const weights = {
  put: 30,
  get: 8,
  delete: 12,
  undelete: 5,
  rename: 8,
  changeClass: 14,
  drain: 3,
  undrain: 5,
  killTracker: 1.5,
  killTrackers: 0.3,
  killNode: 2,
  startNode: 4,
  outrun: 4,
  fsck: 1,
  rebalance: 1,
  rest: 3,
} as const

const keysOfDomain = 25
const most = { drained: 2, deadNodes: 2 }
const classNames = Object.keys(classes) as [keyof typeof classes, ...(keyof typeof classes)[]]
const durabilities = ['fast', 'safe', 'everywhere'] as const

/** Draws the next step; what it returns does it, and never rejects. */
export function nextStep(run: Run, locks: Locks): () => Promise<void> {
  const { chance, system, log } = run
  const name = chance.weighted(weights)
  const domain = chance.pick(domains)
  const key = `${domain}/${chance.below(keysOfDomain)}`
  const other = `${domain}/${chance.below(keysOfDomain)}`
  const className = chance.pick(classNames)
  const member = chance.next()
  const devids = system.nodes.flatMap(node => node.devids)
  const devid = devids[Math.floor(member * devids.length)] ?? 0
  const say = (...words: (string | number)[]): void => {
    log.push([name, ...words].join(' '))
  }
  switch (name) {
    case 'put': {
      const content = run.contents.size + 1
      run.contents.set(sha256Hex(bytesOf(content)), content)
      const durability = chance.pick(durabilities)
      say(key, content, className, durability)
      return () => locks.with([key], () => put(run, key, { content, className }, durability))
    }
    case 'get':
      say(key)
      return () => locks.with([key], () => get(run, key))
    case 'delete':
      say(key)
      return () => locks.with([key], () => remove(run, key))
    case 'undelete':
      say(key)
      return () => locks.with([key], () => undelete(run, key))
    case 'rename':
      say(key, other)
      return key === other ? nothing : () => locks.with([key, other], () => rename(run, key, other))
    case 'changeClass':
      say(key, className)
      return () => locks.with([key], () => changeClass(run, key, className))
    case 'drain':
    case 'undrain':
      say(devid)
      return () => (name === 'drain' ? drain(run, devid) : undrain(run, devid))
    case 'killTracker':
    case 'killTrackers': {
      const chosen = Math.floor(member * system.trackers.length)
      const victims = system.trackers.filter((_, i) => name === 'killTrackers' || i === chosen)
      say(...victims.map(one => one.name))
      return async () => {
        await Promise.all(victims.map(one => one.kill()))
        await Promise.all(victims.map(one => one.start()))
      }
    }
    case 'killNode':
    case 'startNode':
      return () => killOrStart(run, name === 'killNode', member)
    case 'outrun':
      say()
      return () => outrun(run)
    case 'fsck':
      say()
      return () => leniently(system.client.api.startFsck())
    case 'rebalance':
      say(devid)
      return () => rebalance(run, devid)
    case 'rest':
      return () => sleep(100)
  }
}

const nothing = async (): Promise<void> => {}

/** Nobody has a key while somebody else works on it. */
export class Locks {
  readonly #last = new Map<string, Promise<void>>()

  async with(keys: readonly string[], work: () => Promise<void>): Promise<void> {
    const before = keys.map(async key => this.#last.get(key))
    const done = Promise.all(before).then(work)
    for (const key of keys) this.#last.set(key, done)
    await done
  }
}

/** `answered`: with this error the operation has certainly not been done. */
async function attempt<T>(
  work: () => Promise<T>,
  answered: readonly string[],
): Promise<{ kind: 'ok'; value: T } | { kind: 'refused'; code: string } | { kind: 'unknown' }> {
  try {
    return { kind: 'ok', value: await work() }
  } catch (err) {
    if (!isCoded(err)) throw err
    return answered.includes(err.code) ? { kind: 'refused', code: err.code } : { kind: 'unknown' }
  }
}

const split = (key: string): [domain: string, name: string] => key.split('/') as [string, string]

function clientOf({ system }: Run, key: string) {
  const [domain, name] = split(key)
  return { files: system.client.domain(domain), name }
}

async function put(run: Run, key: string, state: State, durability: (typeof durabilities)[number]) {
  if (state === 'absent') return
  const { files, name } = clientOf(run, key)
  const body = bytesOf(state.content)
  const outcome = await attempt(
    () => files.put(name, body, { class: state.className, durability }),
    [],
  )
  if (outcome.kind === 'ok') run.model.became(key, [state])
  else run.model.mayBecome(key, [state])
}

async function get(run: Run, key: string) {
  const { files, name } = clientOf(run, key)
  const outcome = await attempt(async () => (await files.get(name)).bytes(), ['unknown_key'])
  const found =
    outcome.kind === 'ok'
      ? (run.contents.get(sha256Hex(outcome.value)) ?? 'unknown bytes')
      : outcome.kind === 'refused'
        ? 'absent'
        : undefined
  // With its replicas on dead nodes it cannot be read.
  if (found === undefined) return
  const allowed = run.model.possible(key).map(state => (state === 'absent' ? state : state.content))
  if (!allowed.includes(found as number)) {
    run.wrong.push(`get ${key} gives ${found}, not ${allowed.join(' or ')}`)
  }
}

async function remove(run: Run, key: string) {
  const { model } = run
  const { files, name } = clientOf(run, key)
  const outcome = await attempt(() => files.delete(name), ['unknown_key'])
  // Sent a second time by the SDK after a lost answer, it finds nothing any more.
  if (outcome.kind === 'unknown') model.mayBecome(key, ['absent'])
  else model.became(key, ['absent'])
}

async function undelete(run: Run, key: string) {
  const { model } = run
  const { files, name } = clientOf(run, key)
  const [domain] = split(key)
  const outcome = await attempt(
    () => run.system.client.api.undelete({ domain, key: name }),
    ['unknown_key', 'key_exists', 'no_replica'],
  )
  if (outcome.kind === 'refused') return
  // Whatever it is: it was stored under this key once.
  const stat = await attempt(() => files.stat(name), ['unknown_key'])
  const back = stat.kind === 'ok' ? stateOf(run, stat.value) : undefined
  if (back === undefined) model.mayBecome(key, anything(run))
  else model.became(key, [back])
}

const anything = ({ contents }: Run): State[] =>
  [...contents.values()].flatMap(content => classNames.map(className => ({ content, className })))

function stateOf(run: Run, entry: { sha256?: string; class: string }): State | undefined {
  const content = run.contents.get(entry.sha256 ?? '')
  return content === undefined ? undefined : { content, className: entry.class }
}

async function rename(run: Run, from: string, to: string) {
  const { model } = run
  const { files, name } = clientOf(run, from)
  const [, toName] = split(to)
  const before = model.possible(from)
  const outcome = await attempt(() => files.rename(name, toName), ['key_exists'])
  if (outcome.kind === 'refused') return
  const there = before.filter(state => state !== 'absent')
  if (outcome.kind === 'ok') {
    model.became(from, ['absent'])
    model.became(to, there)
    return
  }
  // Unknown, or the key is, perhaps since the first try of the SDK was done and its answer lost.
  model.mayBecome(from, ['absent'])
  model.mayBecome(to, there)
}

async function changeClass(run: Run, key: string, className: string) {
  const { model } = run
  const { files, name } = clientOf(run, key)
  const outcome = await attempt(() => files.change(name, { class: className }), ['unknown_key'])
  const changed = model
    .possible(key)
    .map((state): State => (state === 'absent' ? state : { ...state, className }))
  if (outcome.kind === 'ok')
    model.became(
      key,
      changed.filter(state => state !== 'absent'),
    )
  else if (outcome.kind === 'unknown') model.mayBecome(key, changed)
}

async function drain({ system }: Run, devid: number) {
  const drained = await system.sql('select from drain')
  if (drained.length < most.drained) await leniently(system.client.api.drainDevice(devid))
}

async function undrain({ system }: Run, devid: number) {
  const [row] = await system.sql<{ devid: number }>(
    'select devid from drain order by devid <> $1, devid limit 1',
    [devid],
  )
  if (row) await leniently(system.client.api.undrainDevice(row.devid))
}

async function killOrStart({ system, log }: Run, kill: boolean, which: number): Promise<void> {
  const { nodes } = system
  const candidates: Member[] = nodes.filter(({ alive }) => alive === kill)
  const one = candidates[Math.floor(which * candidates.length)]
  if (!one || (kill && nodes.length - candidates.length >= most.deadNodes)) return
  log.push(`${kill ? 'killNode' : 'startNode'} ${one.name}`)
  await (kill ? one.kill() : one.start())
}

/** Begins one; the one before ends where it is. */
async function rebalance({ system }: Run, devid: number): Promise<void> {
  const { api } = system.client
  await leniently(api.stopRebalance())
  await leniently(api.setRebalancePolicy(`from_devices=${devid} limit_by=count limit=5`))
  await leniently(api.startRebalance())
}

/** Everybody who has a job turns out to have been too slow: what is claimed falls due now. */
async function outrun({ system }: Run): Promise<void> {
  for (const table of ['replicate_job', 'rebalance_job', 'check_job'] as const) {
    await system.sql(`update ${table} set next_try = now() where next_try > now()`)
  }
  await system.sql(
    `update delete_job set next_try = now() where next_try > now() and attempts > 0
      and not exists (select from trash where trash.fid = delete_job.fid)`,
  )
}

/** Whether it is done or refused does not matter here. */
export async function leniently(work: Promise<unknown>): Promise<void> {
  await work.catch((err: unknown) => {
    if (!isCoded(err)) throw err
  })
}
