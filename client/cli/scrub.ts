/** `omg scrub`: every copy read and compared with its checksum. */
import type { Command } from 'commander'
import type { NewScrub, ScrubInfo } from '../../common/protocol/upkeep.ts'
import { addressOf } from './address.ts'
import { wholeNumber, type Cli } from './command.ts'
import { parseDevid } from './device.ts'
import { UsageError } from './failure.ts'
import type { Output } from './output.ts'
import type { ConnectionOptions } from './session.ts'
import { formatBytes, plural } from './text.ts'

interface StartOptions extends ConnectionOptions {
  readonly domain?: string
  readonly class?: string
  readonly device?: string
}

/** Files that are asked for at once. */
const pageSize = 1000

/** Adds the commands. */
export function addScrub(program: Command, cli: Cli): void {
  const group = program
    .command('scrub')
    .description('read every copy and compare it with its checksum; what is bad is replaced')

  const list = cli
    .online(group, 'list', 'show those that run and ran', 'an array of ScrubInfo')
    .aliases(['ls', 'status'])
  list.action((options: ConnectionOptions) =>
    cli.run(list, options, async ({ api, signal, out, json }) => {
      const scrubs = await api.listScrubs({ signal })
      if (json) await out.json(scrubs)
      else await writeScrubs(scrubs, out)
    }),
  )

  const start = cli
    .online(group, 'start', 'read everything now, or what is named', 'the ScrubInfo')
    .option('--domain <DOMAIN>', 'only files of this domain')
    .option('--class <NAME>', 'of it, only files of this class')
    .option('--device <DEVID>', 'only copies on this device')
  start.action((options: StartOptions) =>
    cli.run(start, options, async ({ api, signal, out, json }) => {
      const { domain, class: name, device } = options
      if (name !== undefined && domain === undefined) throw new UsageError('--class needs --domain')
      const scope: NewScrub = {
        ...(domain !== undefined && { domain }),
        ...(name !== undefined && { class: name }),
        ...(device !== undefined && { devid: parseDevid(device) }),
      }
      const scrub = await api.startScrub(scope, { signal })
      if (json) await out.json(scrub)
      else await writeScrubs([scrub], out)
    }),
  )

  const stop = cli
    .online(group, 'stop', 'end one by its number', '{ id }')
    .argument('<ID>', 'as list shows it', wholeNumber(1, Number.MAX_SAFE_INTEGER))
  stop.action((id: number, options: ConnectionOptions) =>
    cli.run(stop, options, async ({ api, signal, out, json }) => {
      await api.stopScrub(id, { signal })
      if (json) await out.json({ id })
      else await out.write(`${id}  stopped\n`)
    }),
  )

  const damage = cli.online(
    group,
    'damage',
    'list the files of which no good copy is known',
    'one entry of DamageList a line',
  )
  damage.action((options: ConnectionOptions) =>
    cli.run(damage, options, async ({ api, signal, out, json }) => {
      for (let after: number | undefined = 0; after !== undefined;) {
        const files = await api.listDamage({ after, limit: pageSize }, { signal })
        for (const file of files) {
          if (json) await out.json(file)
          else {
            const fid = String(file.fid).padStart(10)
            await out.write(`${fid}  ${file.foundAt}  ${addressOf(file)}\n`)
          }
        }
        after = files.length < pageSize ? undefined : files.at(-1)?.fid
      }
    }),
  )

  const sweeps = cli.online(
    group,
    'sweeps',
    'show how far the comparison of each device with the database is',
    'the SweepList',
  )
  sweeps.action((options: ConnectionOptions) =>
    cli.run(sweeps, options, async ({ api, signal, out, json }) => {
      const found = await api.listSweeps({ signal })
      if (json) return out.json(found)
      await out.table(
        [
          { title: 'DEVICE' },
          { title: 'FILES', right: true },
          { title: 'WRONG', right: true },
          { title: 'EXTRA', right: true },
          { title: 'REMOVED', right: true },
          { title: 'ROUND BEFORE' },
        ],
        found.map(({ devid, files, wrong, extra, removed, finishedAt }) => [
          `dev${devid}`,
          String(files),
          String(wrong),
          String(extra),
          String(removed),
          finishedAt ?? '-',
        ]),
      )
    }),
  )
}

function writeScrubs(scrubs: readonly ScrubInfo[], out: Output): Promise<void> {
  return out.table(
    [
      { title: 'ID', right: true },
      { title: 'WHAT', shrink: true },
      { title: 'FILES', right: true },
      { title: 'READ', right: true },
      { title: 'BAD', right: true },
      { title: 'FINISHED' },
    ],
    scrubs.map(scrub => [
      String(scrub.id),
      scopeOf(scrub),
      plural(scrub.files, 'file'),
      formatBytes(scrub.bytes),
      String(scrub.bad),
      scrub.finishedAt ?? '-',
    ]),
  )
}

function scopeOf({ continuous, domain, class: name, devid }: ScrubInfo): string {
  if (continuous) return 'always'
  const parts = [domain, name, devid === undefined ? undefined : `dev${devid}`]
  return parts.filter(part => part !== undefined).join(' ') || 'everything'
}
