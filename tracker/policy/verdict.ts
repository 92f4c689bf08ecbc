/** What policies are told of a file, and what they answer. */
import { holdsFiles, type Device } from './device.ts'

/** What to do for a file now. `to` is in order of preference; `ideal` false: better than nothing. */
export type Verdict =
  | { readonly kind: 'satisfied' }
  | { readonly kind: 'copy'; readonly to: readonly Device[]; readonly ideal: boolean }
  | { readonly kind: 'excess' }
  | { readonly kind: 'stuck'; readonly why: string }

/** A file as a policy sees it. */
export interface PolicyState {
  /** Copies that the class asks for. */
  readonly min: number
  /** Devices that hold a replica; neither dead nor treated as lost. */
  readonly copies: readonly Device[]
  /** Devices that could take one more, best first. */
  readonly candidates: readonly Device[]
  /** Every device of the cluster. */
  readonly devices: readonly Device[]
}

/** A policy that a plugin brings: `args` is what stands between the parentheses. */
export type CustomPolicy = (state: PolicyState & { readonly args: string }) => Verdict

export const satisfied: Verdict = { kind: 'satisfied' }
export const excess: Verdict = { kind: 'excess' }
export const noTaker: Verdict = { kind: 'stuck', why: 'no device takes new files' }

/** Numbers of the hosts that have these devices. */
export const hostsOf = (devices: readonly Device[]): Set<number> =>
  new Set(devices.map(({ host }) => host.id))

/** Several copies, and no device is left for one more. */
export const onEveryDevice = ({ copies, devices }: PolicyState): boolean =>
  copies.length >= 2 && copies.length === devices.filter(holdsFiles).length

/** Devices that an operator counts on: in service, and not treated as lost. */
export const inService = (devices: readonly Device[]): Device[] =>
  devices.filter(device => device.status === 'alive' && !device.lost)
