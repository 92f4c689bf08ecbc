/** `omg doctor`: checks everything that tends to go wrong, and says for each finding what to do. */
import type { Command } from 'commander'
import type { Cli } from './command.ts'
import { checkCluster, manyDamaged } from './doctor-cluster.ts'
import { checkNodes } from './doctor-nodes.ts'
import { probe } from './doctor-probe.ts'
import { checkSite } from './doctor-site.ts'
import { checkTokenFile, checkTrackers } from './doctor-trackers.ts'
import { ToldFailure, UsageError } from './failure.ts'
import type { Finding, Level } from './finding.ts'
import type { ConnectionOptions, Session } from './session.ts'
import { reserveOf } from './reserve.ts'
import { painter } from './paint.ts'
import { plural, printable, wrap } from './text.ts'

interface Options extends ConnectionOptions {
  readonly site?: string
  readonly write?: string
  readonly quiet?: boolean
}

/** Adds the command. */
export function addDoctor(program: Command, cli: Cli): void {
  const command = cli
    .online(
      program,
      'doctor',
      'check trackers, database, clocks, nodes, mounts, space and classes; exit 1 if there is a problem',
      'an array of { check, level, text, advice? }; the level is ok, warning or problem',
    )
    .option('--site <URL>', 'also fetch this page through the reproxy, and check its header')
    .option('--write <DOMAIN>', 'also put a file into this domain, read every copy, and delete it')
    .option('-q, --quiet', 'show only warnings and problems')
  command.action((options: Options) =>
    cli.run(command, options, async session => {
      if (options.site !== undefined && !/^https?:\/\//.test(options.site)) {
        throw new UsageError(`--site: ${JSON.stringify(options.site)} is not an http URL`)
      }
      const all = await examine(options, session)
      const findings = options.quiet ? all.filter(({ level }) => level !== 'ok') : all
      if (session.json) await session.out.json(findings)
      else await session.out.write(describe(findings, all, session))
      if (all.some(({ level }) => level === 'problem')) throw new ToldFailure(1)
    }),
  )
}

async function examine(options: Options, session: Session): Promise<Finding[]> {
  const { api, signal } = session
  const trackers = await checkTrackers(session)
  const findings = [...(await checkTokenFile(options.tokenFile)), ...trackers.findings]
  // Everything else is known to the trackers only.
  if (trackers.answered) {
    const [status, domains, fsck, settings, damage] = await Promise.all([
      api.status({ signal }),
      api.listDomains({ signal }),
      api.fsckStatus({ signal }),
      api.listSettings({ signal }),
      api.listDamage({ limit: manyDamaged }, { signal }),
    ])
    const trackerClock = trackers.clockSeconds ?? 0
    const { hosts, devices } = status
    findings.push(
      ...(await checkNodes(hosts, { devices, trackerClock, signal })),
      ...checkCluster({
        status,
        domains,
        fsck,
        damaged: damage.length,
        reserve: reserveOf(settings),
      }),
      ...(options.write === undefined ? [] : await probe(options.write, session)),
    )
  }
  if (options.site !== undefined) findings.push(...(await checkSite(options.site, signal)))
  return findings
}

const labels: Readonly<Record<Level, string>> = { ok: 'ok', warning: 'WARNING', problem: 'PROBLEM' }

const labelWidth = 9
const indent = ' '.repeat(labelWidth)

function describe(
  findings: readonly Finding[],
  all: readonly Finding[],
  { host: { stdout } }: Session,
): string {
  const { red, yellow, green } = painter(stdout)
  const paints = { ok: green, warning: yellow, problem: red }
  const width = stdout.isTTY ? stdout.columns || 80 : Infinity
  const indented = (text: string): string =>
    wrap(printable(text), width - labelWidth)
      .trimEnd()
      .replaceAll('\n', `\n${indent}`)
  const lines = findings.flatMap(({ check, level, text, advice }) => [
    `${paints[level](labels[level].padEnd(labelWidth))}${indented(`${check}: ${text}`)}`,
    ...(advice === undefined ? [] : [`${indent}${indented(`-> ${advice}`)}`]),
  ])
  const count = (level: Level): number => all.filter(one => one.level === level).length
  lines.push(`${plural(count('problem'), 'problem')}, ${plural(count('warning'), 'warning')}`)
  return `${lines.join('\n')}\n`
}
