/** How what the commands return looks in JSON. */
import { keyToJson } from '../../common/keys.ts'
import type {
  ClassInfo,
  DeviceInfo,
  DomainInfo,
  HostInfo,
  TokenInfo,
} from '../../common/protocol/configuration.ts'
import type { Committed, FileInfo } from '../../common/protocol/files.ts'
import type { ClusterStatus, HealingStatus } from '../../common/protocol/status.ts'
import type { Context } from '../cluster/context.ts'
import type { Domain } from '../cluster/snapshot.ts'
import { className } from '../commands/lookup.ts'
import type { Healing, Status } from '../commands/status.ts'
import type { Device } from '../policy/device.ts'
import type { ClassRow } from '../store/domains.ts'
import type { FileRow } from '../store/files.ts'
import type { HostRow } from '../store/hosts.ts'
import type { TokenRow } from '../store/tokens.ts'
import type { UploadRow } from '../store/uploads.ts'

type Cluster = Pick<Context, 'cluster'>

/** A domain's name; one that was removed meanwhile shows as its number. */
export const domainName = ({ cluster }: Cluster, id: number): string =>
  cluster.snapshot.domainsById.get(id)?.name ?? String(id)

/** A Unix time in seconds. */
export const timeToJson = (seconds: number): string => new Date(seconds * 1000).toISOString()

/** The Unix times that are set; 0 is not. */
export function timesToJson<Name extends string>(
  times: Readonly<Record<Name, number>>,
): { [name in Name]?: string } {
  const set = Object.entries<number>(times).filter(([, seconds]) => seconds > 0)
  return Object.fromEntries(set.map(([name, seconds]) => [name, timeToJson(seconds)])) as {
    [name in Name]?: string
  }
}

/** A live file. */
export function fileToJson(ctx: Cluster, file: FileRow): FileInfo {
  return {
    domain: domainName(ctx, file.domainId),
    ...keyToJson(file.key),
    fid: file.fid,
    class: className(ctx, file.domainId, file.classId),
    size: file.size,
    ...(file.sha256 ? { sha256: file.sha256.toString('hex') } : {}),
    ...(file.contentType === null ? {} : { contentType: file.contentType }),
    metadata: file.metadata ?? {},
    createdAt: file.createdAt.toISOString(),
    modifiedAt: file.modifiedAt.toISOString(),
    devids: file.devids,
  }
}

/** A committed upload: what was true at that moment, whatever became of the key. */
export function committedToJson(ctx: Cluster, upload: UploadRow): Committed {
  const { answer, committedAt } = upload
  if (!answer || !committedAt) throw new Error('the upload is not committed')
  const at = committedAt.toISOString()
  return {
    domain: domainName(ctx, upload.domainId),
    ...keyToJson(upload.key),
    fid: upload.fid,
    class: className(ctx, upload.domainId, upload.classId),
    ...answer,
    ...(upload.contentType === null ? {} : { contentType: upload.contentType }),
    metadata: upload.metadata ?? {},
    createdAt: at,
    modifiedAt: at,
  }
}

export function classToJson({
  name,
  mindevcount,
  replpolicy,
  hashtype,
  ackCopies,
}: ClassRow): ClassInfo {
  return { name, mindevcount, replpolicy: replpolicy ?? 'MultipleHosts()', hashtype, ackCopies }
}

export function domainToJson({ name, classes, trashSeconds }: Domain): DomainInfo {
  return { name, classes: [...classes.values()].map(classToJson), trashSeconds }
}

export function hostToJson({ cluster }: Cluster, host: HostRow): HostInfo {
  return { ...host, observed: cluster.hostObservation(host.id) }
}

export function deviceToJson(device: Device): DeviceInfo {
  const { devid, status, weight, totalBytes, usedBytes, observed, lost = false, problem } = device
  return {
    devid,
    host: device.host.name,
    status,
    weight,
    totalBytes,
    usedBytes,
    observed,
    lost,
    ...(problem !== undefined && { problem }),
  }
}

export function tokenToJson(
  ctx: Cluster,
  { id, name, scope, domainId, rate, createdAt }: TokenRow,
): TokenInfo {
  return {
    id,
    name,
    scope,
    domain: domainId === null ? null : domainName(ctx, domainId),
    rate,
    createdAt: createdAt.toISOString(),
  }
}

function healingToJson(
  { cluster }: Cluster,
  { lost, waiting, files, secondsToSafe }: Healing,
): HealingStatus {
  return {
    lost: lost.map(({ devid, since }) => ({
      devid,
      host: cluster.device(devid)?.host.name ?? '',
      since: since.toISOString(),
    })),
    ...(waiting && { waiting: { devids: [...waiting.devids], why: waiting.why } }),
    files,
    secondsToSafe: secondsToSafe ?? null,
  }
}

export function statusToJson(ctx: Cluster, status: Status, version: string): ClusterStatus {
  const queue = ({ waiting, due, lastError }: Status['queues']['delete']) => ({
    waiting,
    due,
    ...(lastError === null ? {} : { lastError }),
  })
  return {
    version,
    hosts: [...ctx.cluster.snapshot.hosts.values()].map(host => {
      const flushes = status.flushes.get(host.id)
      const fsync = flushes === undefined ? {} : ({ fsync: flushes ? 'on' : 'off' } as const)
      return { ...hostToJson(ctx, host), ...fsync }
    }),
    devices: ctx.cluster.devices().map(deviceToJson),
    files: status.files,
    openUploads: status.openUploads,
    queues: { replicate: queue(status.queues.replicate), delete: queue(status.queues.delete) },
    healing: healingToJson(ctx, status.healing),
    standbys: status.standbys,
  }
}
