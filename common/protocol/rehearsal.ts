/** Changes that destroy something, only rehearsed. */
import Type from 'typebox'
import { ChangeDevice, ChangeHost } from './configuration.ts'
import { closed } from './fields.ts'

const Devid = Type.Integer({ minimum: 1, maximum: 2147483647 })
const Domain = Type.String()
const Host = Type.String()

/** A change, by the name that the audit gives it. */
export const Rehearsal = Type.Union([
  Type.Object({ action: Type.Literal('domain.delete'), domain: Domain }, closed),
  Type.Object(
    { action: Type.Literal('class.delete'), domain: Domain, class: Type.String() },
    closed,
  ),
  Type.Object({ action: Type.Literal('trash.empty'), domain: Domain }, closed),
  Type.Object({ action: Type.Literal('host.delete'), host: Host }, closed),
  Type.Object({ action: Type.Literal('host.change'), host: Host, change: ChangeHost }, closed),
  Type.Object({ action: Type.Literal('host.drain'), host: Host }, closed),
  Type.Object(
    { action: Type.Literal('device.change'), devid: Devid, change: ChangeDevice },
    closed,
  ),
  Type.Object({ action: Type.Literal('device.drain'), devid: Devid }, closed),
  Type.Object({ action: Type.Literal('rebalance.reset') }, closed),
])
export type Rehearsal = Type.Static<typeof Rehearsal>

const count = (description: string) => Type.Optional(Type.Integer({ description }))

/** What would go with it; what is absent has nothing to do with it. */
export const Consequences = Type.Object({
  files: count('live files that lose a copy; 200,000 stands for more'),
  bytes: count('of these copies'),
  lastCopies: count(
    'of the files, those that no other device holds which is neither dead nor lost',
  ),
  uploads: count('open uploads that are given up'),
  trash: count('deleted files that cannot be had back any more'),
})
export type Consequences = Type.Static<typeof Consequences>
