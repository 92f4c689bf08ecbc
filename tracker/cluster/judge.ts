/** How a file's replicas stand to what its class asks for. */
import { betterPlaces, judge, removable, type Situation } from '../policy/replication.ts'
import type { Device } from '../policy/device.ts'
import { parsePolicy, type PolicySpec } from '../policy/spec.ts'
import type { Verdict } from '../policy/verdict.ts'
import type { FileRow } from '../store/files.ts'
import type { Context } from './context.ts'
import { getClassRow, numberSetting } from './snapshot.ts'

export interface Judged extends Pick<FileRow, 'domainId' | 'classId' | 'size' | 'devids'> {
  /** It is deleted and can be had back: of its replicas there are never too many. */
  readonly inTrash?: boolean
}

export interface JudgeOptions {
  /** Devices that a copy must not go to. */
  readonly avoid?: ReadonlySet<number>
  /** Replicas on dead devices count, as MogileFS's fsck has it. */
  readonly countDead?: boolean
}

/** Judges a file's replicas by the policy of its class. */
export function judgeReplicas(ctx: Brain, file: Judged, options: JudgeOptions = {}): Verdict {
  const { policy, text } = policyOf(ctx, file)
  if (!policy) return { kind: 'stuck', why: `unknown policy ${text}` }
  const verdict = judge(policy, situationOf(ctx, file, options))
  // All of them go when its time in the trash is over.
  return file.inTrash && verdict.kind === 'excess' ? { kind: 'satisfied' } : verdict
}

/** True when a file that is stuck without `leaving` finds places once bytes that wait to be removed are gone. */
export function isClearing(
  ctx: Brain,
  file: Judged,
  { avoid, leaving }: { readonly avoid: ReadonlySet<number>; readonly leaving: readonly number[] },
): boolean {
  if (leaving.length === 0) return false
  const cleared = new Set(avoid)
  for (const devid of leaving) cleared.delete(devid)
  return judgeReplicas(ctx, file, { avoid: cleared }).kind !== 'stuck'
}

/** The devices of a file from which a replica may go, each alone, best first. */
export function spareReplicas(ctx: Brain, file: Judged): Device[] {
  const { policy } = policyOf(ctx, file)
  return policy ? removable(policy, situationOf(ctx, file)) : []
}

/** Where one more copy lets others go, when there are too many and none can go as they lie. */
export function betterCopy(ctx: Brain, file: Judged, options: JudgeOptions): Copy | undefined {
  const { policy } = policyOf(ctx, file)
  const to = policy ? betterPlaces(policy, situationOf(ctx, file, options)) : []
  return to.length > 0 ? { kind: 'copy', to, ideal: true } : undefined
}

type Copy = Extract<Verdict, { kind: 'copy' }>

type Brain = Pick<Context, 'cluster' | 'random'>

function policyOf(
  ctx: Brain,
  file: Judged,
): { policy: PolicySpec | undefined; text: string | null } {
  const text = getClassRow(ctx.cluster.snapshot, file)?.replpolicy ?? null
  return { policy: parsePolicy(text, ctx.cluster.policies), text }
}

function situationOf(
  ctx: Brain,
  file: Judged,
  { avoid = new Set(), countDead = false }: JudgeOptions = {},
): Situation {
  const { cluster, random } = ctx
  const devices = cluster.devices()
  return {
    devices: countDead ? devices.map(device => asHolding(device, file)) : devices,
    devids: file.devids,
    mindevcount: getClassRow(cluster.snapshot, file)?.mindevcount ?? 2,
    size: file.size,
    reserve: numberSetting(cluster.snapshot, 'min_free_space_mb') * 1024 * 1024,
    avoid,
    custom: cluster.policies,
    random,
  }
}

const asHolding = (device: Device, { devids }: Judged): Device =>
  device.status === 'dead' && devids.includes(device.devid)
    ? { ...device, status: 'down', lost: false }
    : device
