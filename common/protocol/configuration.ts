/** What an administrator configures over the HTTP API: domains, classes, hosts, devices, settings, tokens. */
import Type from 'typebox'
import { closed, Devid, Name, noControls } from './fields.ts'

const classFields = {
  mindevcount: Type.Integer({
    minimum: 1,
    maximum: 255,
    description: 'number of copies of each file',
  }),
  replpolicy: Type.String({ maxLength: 255 }),
  hashtype: Type.Union([Type.Literal('NONE'), Type.Literal('MD5'), Type.Literal('SHA-1')]),
  ackCopies: Type.Integer({
    minimum: 1,
    maximum: 16,
    description: 'copies that must exist before create_close answers OK',
  }),
}

export const ClassInfo = Type.Object({ name: Type.String(), ...classFields })
export type ClassInfo = Type.Static<typeof ClassInfo>

export const NewClass = Type.Object(
  { name: Name, ...Type.Partial(Type.Object(classFields)).properties },
  closed,
)
export type NewClass = Type.Static<typeof NewClass>

export const ChangeClass = Type.Object(Type.Partial(Type.Object(classFields)).properties, {
  ...closed,
  minProperties: 1,
})
export type ChangeClass = Type.Static<typeof ChangeClass>

const trashSeconds = Type.Integer({
  minimum: 0,
  maximum: 366 * 86400,
  description: 'how long deleted files can be restored; 0: not at all',
})

export const DomainInfo = Type.Object({
  name: Type.String(),
  classes: Type.Array(ClassInfo),
  trashSeconds,
})
export type DomainInfo = Type.Static<typeof DomainInfo>

export const NewDomain = Type.Object({ name: Name }, closed)
export type NewDomain = Type.Static<typeof NewDomain>

export const ChangeDomain = Type.Object({ trashSeconds }, closed)
export type ChangeDomain = Type.Static<typeof ChangeDomain>

export const HostStatus = Type.Union([
  Type.Literal('alive'),
  Type.Literal('readonly'),
  Type.Literal('down'),
  Type.Literal('dead'),
])
export type HostStatus = Type.Static<typeof HostStatus>

export const DeviceStatus = Type.Union([
  Type.Literal('alive'),
  Type.Literal('readonly'),
  Type.Literal('drain'),
  Type.Literal('down'),
  Type.Literal('dead'),
])
export type DeviceStatus = Type.Static<typeof DeviceStatus>

const Port = Type.Integer({ minimum: 1, maximum: 65535 })

const hostFields = {
  status: HostStatus,
  ip: Type.String({ minLength: 1, maxLength: 255 }),
  port: Port,
  getPort: Type.Union([Port, Type.Null()]),
  altip: Type.Union([Type.String({ maxLength: 45 }), Type.Null()]),
  altmask: Type.Union([Type.String({ maxLength: 49, pattern: `^${noControls}*$` }), Type.Null()]),
  zone: Type.Union([Type.String({ maxLength: 50, pattern: `^${noControls}*$` }), Type.Null()]),
}

/** A machine that runs a storage node. `status` is configured, `observed` is what the trackers see. */
export const HostInfo = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  ...hostFields,
  observed: Type.Union([
    Type.Literal('reachable'),
    Type.Literal('unreachable'),
    Type.Literal('unknown'),
  ]),
})
export type HostInfo = Type.Static<typeof HostInfo>

export const NewHost = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 40, pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$' }),
    ...Type.Partial(Type.Object(hostFields)).properties,
    ip: hostFields.ip,
    port: hostFields.port,
  },
  closed,
)
export type NewHost = Type.Static<typeof NewHost>

export const ChangeHost = Type.Object(Type.Partial(Type.Object(hostFields)).properties, {
  ...closed,
  minProperties: 1,
})
export type ChangeHost = Type.Static<typeof ChangeHost>

/** The secret that the storage node of a host is started with. */
export const HostKey = Type.Object({ host: Type.String(), secret: Type.String() })
export type HostKey = Type.Static<typeof HostKey>

/** A disk of a host. Sizes are bytes, and null until the node has reported them. */
export const DeviceInfo = Type.Object({
  devid: Type.Integer(),
  host: Type.String(),
  status: DeviceStatus,
  weight: Type.Integer(),
  totalBytes: Type.Union([Type.Integer(), Type.Null()]),
  usedBytes: Type.Union([Type.Integer(), Type.Null()]),
  observed: Type.Union([
    Type.Literal('writeable'),
    Type.Literal('readable'),
    Type.Literal('unreachable'),
    Type.Literal('unknown'),
  ]),
  lost: Type.Boolean({
    description: 'treated as lost: it has been away for so long that its copies do not count',
  }),
  problem: Type.Optional(Type.String({ description: 'what is wrong with it, as a sentence' })),
})
export type DeviceInfo = Type.Static<typeof DeviceInfo>

const deviceFields = {
  status: Type.Optional(DeviceStatus),
  weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000000 })),
}

export const NewDevice = Type.Object({ devid: Devid, host: Name, ...deviceFields }, closed)
export type NewDevice = Type.Static<typeof NewDevice>

export const ChangeDevice = Type.Object(deviceFields, { ...closed, minProperties: 1 })
export type ChangeDevice = Type.Static<typeof ChangeDevice>

export const Settings = Type.Record(Type.String(), Type.String())
export type Settings = Type.Static<typeof Settings>

export const SettingValue = Type.Object({ value: Type.String({ maxLength: 4096 }) }, closed)
export type SettingValue = Type.Static<typeof SettingValue>

export const TokenScope = Type.Union([
  Type.Literal('admin'),
  Type.Literal('write'),
  Type.Literal('read'),
])
export type TokenScope = Type.Static<typeof TokenScope>

const TokenRate = Type.Integer({
  minimum: 1,
  maximum: 1_000_000,
  description: 'requests per second that each tracker accepts with it; more get 429',
})

/** An API token. `domain` is null for `admin`, which may do everything. */
export const TokenInfo = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  scope: TokenScope,
  domain: Type.Union([Type.String(), Type.Null()]),
  rate: Type.Union([TokenRate, Type.Null()]),
  createdAt: Type.String(),
})
export type TokenInfo = Type.Static<typeof TokenInfo>

export const NewToken = Type.Object(
  {
    name: Name,
    scope: TokenScope,
    domain: Type.Optional(Name),
    rate: Type.Optional(TokenRate),
  },
  closed,
)
export type NewToken = Type.Static<typeof NewToken>

/** A token with its text. This is the only answer that holds it: the tracker keeps its SHA-256. */
export const CreatedToken = Type.Object({ ...TokenInfo.properties, token: Type.String() })
export type CreatedToken = Type.Static<typeof CreatedToken>
