/** The state of the cluster, over the HTTP API. */
import Type from 'typebox'
import { DeviceInfo, HostInfo } from './configuration.ts'

/** The addresses of the storage nodes, as `HOST:PORT`: where a reproxy may connect to. */
export const StorageTargets = Type.Object({ targets: Type.Array(Type.String()) })
export type StorageTargets = Type.Static<typeof StorageTargets>

const Queue = Type.Object({
  waiting: Type.Integer(),
  due: Type.Integer({ description: 'of these, the jobs that could run now' }),
  lastError: Type.Optional(Type.String()),
})

export const HealingStatus = Type.Object({
  lost: Type.Array(
    Type.Object({
      devid: Type.Integer(),
      host: Type.String(),
      since: Type.String({ format: 'date-time' }),
    }),
    { description: 'devices that are treated as lost: their files are copied again' },
  ),
  waiting: Type.Optional(
    Type.Object(
      { devids: Type.Array(Type.Integer()), why: Type.String() },
      { description: 'devices that have been away for as long, but are not treated as lost' },
    ),
  ),
  files: Type.Integer({ description: 'files that still have to be checked or copied' }),
  secondsToSafe: Type.Union([Type.Integer(), Type.Null()], {
    description: 'time until that is done, at the pace so far; null: not known yet',
  }),
})
export type HealingStatus = Type.Static<typeof HealingStatus>

export const ClusterStatus = Type.Object({
  version: Type.String(),
  hosts: Type.Array(
    Type.Object({
      ...HostInfo.properties,
      fsync: Type.Optional(
        Type.Union([Type.Literal('on'), Type.Literal('off')], {
          description:
            'off: the node says OK before the bytes are on disk; absent: it does not say',
        }),
      ),
    }),
  ),
  devices: Type.Array(DeviceInfo),
  files: Type.Integer({ description: 'exact for few files, an estimate for many' }),
  openUploads: Type.Integer(),
  queues: Type.Object({ replicate: Queue, delete: Queue }),
  healing: HealingStatus,
  standbys: Type.Object(
    {
      count: Type.Integer(),
      asynchronous: Type.Integer({
        description: 'of these, the standbys that may lack the last commits after a failover',
      }),
    },
    { description: 'standbys that are connected to the database' },
  ),
})
export type ClusterStatus = Type.Static<typeof ClusterStatus>
