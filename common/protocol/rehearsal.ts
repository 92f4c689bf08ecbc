/** Rehearsals: what a change that destroys something would cost. */
import Type from 'typebox'
import { ChangeDevice, ChangeHost } from './configuration.ts'
import { closed, Devid } from './fields.ts'

const Domain = Type.String()
const Host = Type.String()

/** A change; `action` is its name in the audit trail. */
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

/** What would be lost. A field is absent when the change cannot cost that. */
export const Consequences = Type.Object({
  files: count('live files that lose a copy; counted up to 200,000'),
  bytes: count('size of these copies'),
  lastCopies: count(
    'of these files, those with no copy on another device that is neither dead nor lost',
  ),
  uploads: count('open uploads that are given up'),
  trash: count('deleted files that can no longer be restored'),
})
export type Consequences = Type.Static<typeof Consequences>
