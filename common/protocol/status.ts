/** How the cluster is, over the HTTP API. */
import Type from 'typebox'
import { DeviceInfo, HostInfo } from './configuration.ts'

/** Where storage nodes may be read: what a reproxy may connect to, as `HOST:PORT`. */
export const StorageTargets = Type.Object({ targets: Type.Array(Type.String()) })
export type StorageTargets = Type.Static<typeof StorageTargets>

const Queue = Type.Object({
  waiting: Type.Integer(),
  due: Type.Integer({ description: 'of them, those that could run now' }),
  lastError: Type.Optional(Type.String()),
})

export const HealingStatus = Type.Object({
  lost: Type.Array(
    Type.Object({
      devid: Type.Integer(),
      host: Type.String(),
      since: Type.String({ format: 'date-time' }),
    }),
    { description: 'devices whose files are copied anew' },
  ),
  waiting: Type.Optional(
    Type.Object(
      { devids: Type.Array(Type.Integer()), why: Type.String() },
      { description: 'devices that are away for as long, and are not treated as lost yet' },
    ),
  ),
  files: Type.Integer({ description: 'files that still have to be looked at or copied' }),
  secondsToSafe: Type.Union([Type.Integer(), Type.Null()], {
    description: 'until that is done, as fast as it went so far; null: not known yet',
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
            'off: its node says OK before the bytes are on disk; absent: it does not tell',
        }),
      ),
    }),
  ),
  devices: Type.Array(DeviceInfo),
  files: Type.Integer({ description: 'exact for few, an estimate for many' }),
  openUploads: Type.Integer(),
  queues: Type.Object({ replicate: Queue, delete: Queue }),
  healing: HealingStatus,
  standbys: Type.Object(
    {
      count: Type.Integer(),
      asynchronous: Type.Integer({
        description: 'of them, those that may lack the last commits when one of them takes over',
      }),
    },
    { description: 'standbys of the database that are connected to it' },
  ),
})
export type ClusterStatus = Type.Static<typeof ClusterStatus>
