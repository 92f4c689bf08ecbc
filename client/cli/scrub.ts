/** `omg scrub`: every copy read and compared with its checksum. */
import type { Command } from 'commander'
import type { DamageList, NewScrub, ScrubInfo } from '../../common/protocol/upkeep.ts'
import { addressOf } from './address.ts'
import { wholeNumber, type Cli } from './command.ts'
import { parseDevid } from './devid.ts'
import { UsageError } from './failure.ts'
import type { Output } from './output.ts'
import { pageSize, pagesOf } from './pages.ts'
import type { ConnectionOptions } from './session.ts'
import { formatBytes } from './text.ts'

interface StartOptions extends ConnectionOptions {
  readonly domain?: string
  readonly class?: string
  readonly device?: string
}

/** Adds the commands. */
export function addScrub(program: Command, cli: Cli): void {
  const group = program
    .command('scrub')
    .description('read every copy, compare it with its checksum, and replace bad copies')
  addList(group, cli)
  addStart(group, cli)
  addStop(group, cli)
  addDamage(group, cli)
  addSweeps(group, cli)
}

function addList(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'list', 'list the running and finished scrubs', 'an array of ScrubInfo')
    .aliases(['ls', 'status'])
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const scrubs = await api.listScrubs({ signal })
      if (json) await out.json(scrubs)
      else await writeScrubs(scrubs, out)
    }),
  )
}

function addStart(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'start', 'read all copies now, or only some of them', 'the ScrubInfo')
    .option('--domain <DOMAIN>', 'only files of this domain')
    .option('--class <NAME>', 'only files of this class of the domain')
    .option('--device <DEVID>', 'only copies on this device')
  command.action((options: StartOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
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
}

function addStop(group: Command, cli: Cli): void {
  const command = cli
    .online(group, 'stop', 'stop a scrub', '{ id }')
    .argument('<ID>', 'its id, as omg scrub list shows it', wholeNumber(1, Number.MAX_SAFE_INTEGER))
  command.action((id: number, options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      await api.stopScrub(id, { signal })
      if (json) await out.json({ id })
      else await out.write(`${id}  stopped\n`)
    }),
  )
}

function addDamage(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'damage',
    'list the files that have no good copy left, as far as is known',
    'one entry of DamageList per line',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const pages = pagesOf<DamageList[number]>(last =>
        api.listDamage({ after: last?.fid ?? 0, limit: pageSize }, { signal }),
      )
      for await (const files of pages) {
        await out.lines(files.map(file => (json ? JSON.stringify(file) : damageLine(file))))
      }
    }),
  )
}

function addSweeps(group: Command, cli: Cli): void {
  const command = cli.online(
    group,
    'sweeps',
    'show how far each device has been compared with the database',
    'the SweepList',
  )
  command.action((options: ConnectionOptions) =>
    cli.run(command, options, async ({ api, signal, out, json }) => {
      const found = await api.listSweeps({ signal })
      if (json) return out.json(found)
      await out.table(
        [
          { title: 'DEVICE' },
          { title: 'FILES', right: true },
          { title: 'WRONG', right: true },
          { title: 'EXTRA', right: true },
          { title: 'REMOVED', right: true },
          { title: 'LAST FINISHED' },
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

const damageLine = (file: DamageList[number]): string =>
  `${String(file.fid).padStart(10)}  ${file.foundAt}  ${addressOf(file)}`

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
      String(scrub.files),
      formatBytes(scrub.bytes),
      String(scrub.bad),
      scrub.finishedAt ?? '-',
    ]),
  )
}

function scopeOf({ continuous, domain, class: name, devid }: ScrubInfo): string {
  if (continuous) return 'everything, always'
  const parts = [domain, name, devid === undefined ? undefined : `dev${devid}`]
  return parts.filter(part => part !== undefined).join(' ') || 'everything'
}
