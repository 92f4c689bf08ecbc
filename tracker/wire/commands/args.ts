/** The arguments of a request, and what a command makes of them. */
import { CodedError } from '../../../common/errors.ts'
import type { Context } from '../../cluster/context.ts'
import { getDomain } from '../../commands/lookup.ts'
import type { Caller } from '../../store/audit.ts'
import { wireToUtf8, type Pair } from '../codec.ts'

/** The arguments of a request, read as the protocol reads them. */
export class Args {
  readonly #values: ReadonlyMap<string, string>

  constructor(values: ReadonlyMap<string, string>) {
    this.#values = values
  }

  /** True when it was sent, even empty. */
  has(name: string): boolean {
    return this.#values.has(name)
  }

  text(name: string): string {
    return wireToUtf8(this.#values.get(name) ?? '')
  }

  /**
   * A text that is to be kept: empty also when it is `0`, which admin commands take for missing.
   * Throws failure on what cannot be kept, as the original's database does: broken UTF-8, control
   * characters, more than `max` characters.
   */
  name(name: string, max: number): string {
    return this.flag(name) ? this.kept(name, max) : ''
  }

  /** The same where `0` is a value as any other; `text` is what is to be kept of it. */
  kept(name: string, max: number, text = this.text(name)): string {
    // eslint-disable-next-line no-control-regex -- these are what a name must not hold
    if (text.length > max || /[\0-\x1f\x7f\ufffd]/.test(text)) {
      throw new CodedError('failure', `${name} is at most ${max} characters without controls`)
    }
    return text
  }

  bytes(name: string): Buffer {
    return Buffer.from(this.#values.get(name) ?? '', 'latin1')
  }

  /** Every text but the empty one and `0` is true. */
  flag(name: string): boolean {
    const value = this.#values.get(name) ?? ''
    return value !== '' && value !== '0'
  }

  /** Leading digits with their sign; anything else counts as 0. */
  integer(name: string): number {
    return Number(/^\s*([+-]?\d+)/.exec(this.#values.get(name) ?? '')?.[1] ?? 0)
  }

  /** The same without sign: what is negative counts as 0. */
  number(name: string): number {
    return Math.max(0, this.integer(name))
  }

  /** A number that consists of digits only; undefined for anything else. */
  digits(name: string): number | undefined {
    const value = this.#values.get(name) ?? ''
    return /^\d+$/.test(value) ? Number(value) : undefined
  }

  /** All of them, as wire strings. */
  entries(): Iterable<readonly [name: string, value: string]> {
    return this.#values
  }
}

/** A command: the pairs of its `OK` line. Throws CodedError for an `ERR` one. */
export type Handler = (ctx: Context, args: Args, caller: Caller) => Promise<Pair[]> | Pair[]

/** Commands by their words. */
export type Handlers = Readonly<Record<string, Handler>>

/** The domain of a file command, checked before all else. Throws no_domain or unreg_domain. */
export async function domainOf(ctx: Context, args: Args): Promise<string> {
  const domain = args.text('domain')
  await getDomain(ctx, domain)
  return domain
}
