/** What has to hold, at any moment and when all is quiet. */
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fidPath } from '../../../common/layout.ts'
import { until } from '../../helpers/until.ts'
import { sha256Hex } from './bytes.ts'
import type { State } from './model.ts'
import { leniently, type Run } from './steps.ts'
import { classes, type Soaked } from './system.ts'

/** How long it may take until everything is back, and until nothing is to be done. */
const patienceMs = 180_000

interface Row {
  fid: number
  domain: string
  key: string
  className: string
  size: number
  sha256: string | null
  devids: number[]
}

const rowsOf = ({ sql }: Soaked, table: 'file' | 'trash'): Promise<Row[]> =>
  sql<Row>(
    `select fid, domain.name as domain, convert_from(key, 'UTF8') as key, class.name as "className",
       size, encode(sha256, 'hex') as sha256, devids
     from ${table} join domain on domain.id = domain_id
     left join class on class.domain_id = ${table}.domain_id and class.id = class_id
     order by fid`,
  )

/** Every file has a replica on one of the devices that its row names, at any moment. */
export async function checkKept({ system, wrong }: Run): Promise<void> {
  for (const { fid, devids, key } of await rowsOf(system, 'file')) {
    let named = devids
    for (let tries = 0; ; tries++) {
      const there = await Promise.all(named.map(devid => isThere(system, devid, fid)))
      if (there.includes(true)) break
      // It may have moved since the row was read.
      const [row] = await system.sql<{ devids: number[] }>(
        'select devids from file where fid = $1',
        [fid],
      )
      if (!row) break
      if (tries >= 2) {
        wrong.push(`${key}: none of the replicas of fid ${fid} on ${named.join()} is there`)
        break
      }
      named = row.devids
    }
  }
}

const isThere = ({ pathOf }: Soaked, devid: number, fid: number): Promise<boolean> =>
  stat(join(pathOf(devid), fidPath(fid))).then(
    () => true,
    () => false,
  )

/** Brings everything back and waits until nothing is to be done any more. False: that does not come. */
export async function settle(run: Run): Promise<boolean> {
  const { system } = run
  const { sql, client, trackers, nodes } = system
  await Promise.all([...trackers, ...nodes].map(member => member.start()))
  const drained = await sql<{ devid: number }>('select devid from drain')
  for (const { devid } of drained) await client.api.undrainDevice(devid)
  await leniently(client.api.stopRebalance())
  await until(
    'the devices are back',
    async () => {
      const devices = await client.api.listDevices()
      return devices.every(
        ({ status, observed, lost }) => status === 'alive' && observed === 'writeable' && !lost,
      )
    },
    patienceMs,
  )
  // Whoever was killed has claimed steps for a while.
  await sql('update sweep set next_step = now()')
  await sql('update review set next_step = now()')
  // What was opened by a put that failed is given up, after its last URL has run out.
  await sql(`update upload set expires_at = now() - interval '1 hour' where committed_at is null`)
  try {
    await until('nothing is under way', () => isQuiet(run), patienceMs)
  } catch {
    const open = await openWork(system)
    run.wrong.push(...open.map(row => `it does not settle: ${JSON.stringify(row)}`))
    return false
  }
  try {
    await until('no bytes are left over', async () => (await strays(system)).length === 0)
  } catch {
    for (const { fid, devid } of await strays(system)) {
      run.wrong.push(`nobody owns fid ${fid} on device ${devid}`)
    }
    return false
  }
  return true
}

const queues = `
  select 'replicate' as queue, fid, last_error from replicate_job
  union all select 'move', fid, last_error from rebalance_job
  union all select 'check', fid, last_error from check_job
  union all select 'delete', fid, last_error from delete_job
    where not exists (select from trash where trash.fid = delete_job.fid and delete_job.devids <@ trash.devids)
  union all select 'upload', fid, null from upload where committed_at is null
  union all select 'review', id, null from review where finished_at is null
  union all select name, 0, value from setting where name in ('fsck_host', 'rebal_host') and value <> ''`

const openWork = ({ sql }: Soaked): Promise<unknown[]> => sql(queues)

async function isQuiet({ system }: Run): Promise<boolean> {
  const { sql } = system
  const open = await openWork(system)
  if (open.length === 0) return true
  // Whoever had claimed something may be dead, and what failed need not wait for its next try.
  await sql(
    `update replicate_job set next_try = now() where next_try > now() + interval '5 seconds'`,
  )
  await sql(
    `update rebalance_job set next_try = now() where next_try > now() + interval '5 seconds'`,
  )
  await sql(`update check_job set next_try = now() where next_try > now() + interval '5 seconds'`)
  await sql(
    `update delete_job set next_try = now() where next_try > now() + interval '5 seconds'
      and not exists (select from trash where trash.fid = delete_job.fid and delete_job.devids <@ trash.devids)`,
  )
  return false
}

/** Disk, database and what clients were told agree. */
export async function checkAll(run: Run): Promise<void> {
  const { system, model, wrong, contents } = run
  const rows = await rowsOf(system, 'file')
  const trash = await rowsOf(system, 'trash')
  const actual = new Map<string, State>()
  for (const row of rows) {
    const { fid, domain, key, className, devids, sha256 } = row
    const at = `${domain}/${key}`
    const content = contents.get(sha256 ?? '')
    if (content === undefined) wrong.push(`${at}: unknown bytes, ${sha256}`)
    else actual.set(at, { content, className })
    const wanted = classes[className as keyof typeof classes]
    if (devids.length !== wanted) {
      wrong.push(`${at}: fid ${fid} is on ${devids.join()}, and ${className} asks for ${wanted}`)
    }
    const hosts = devids.map(devid => system.nodes.find(node => node.devids.includes(devid))?.name)
    if (new Set(hosts).size !== devids.length) wrong.push(`${at}: fid ${fid} is on ${hosts.join()}`)
  }
  const known = new Map([...rows, ...trash].map(row => [row.fid, row]))
  for (const { fid, devids, sha256 } of known.values()) {
    for (const devid of devids) {
      const path = join(system.pathOf(devid), fidPath(fid))
      const bytes = await readFile(path).catch(() => undefined)
      if (!bytes) wrong.push(`fid ${fid} is not on device ${devid}`)
      else if (sha256Hex(bytes) !== sha256)
        wrong.push(`fid ${fid} on device ${devid} has other bytes`)
    }
  }
  for (const key of new Set([...model.keys, ...actual.keys()])) {
    const state = actual.get(key) ?? 'absent'
    if (!model.allows(key, state)) {
      const allowed = model.possible(key).map(one => JSON.stringify(one))
      wrong.push(`${key} is ${JSON.stringify(state)}, not ${allowed.join(' or ')}`)
    }
    model.is(key, state)
  }
}

/** Bytes that no row names. */
async function strays(system: Soaked): Promise<{ fid: number; devid: number }[]> {
  const onDisk = await listDisks(system)
  const rows = [...(await rowsOf(system, 'file')), ...(await rowsOf(system, 'trash'))]
  const known = new Map(rows.map(row => [row.fid, row]))
  return onDisk.filter(({ fid, devid }) => !known.get(fid)?.devids.includes(devid))
}

async function listDisks({ nodes, pathOf }: Soaked): Promise<{ fid: number; devid: number }[]> {
  const lists = await Promise.all(
    nodes
      .flatMap(({ devids }) => devids)
      .map(async devid => {
        const names = await readdir(pathOf(devid), { recursive: true })
        return names.flatMap(name => {
          const [, fid] = /(\d{10,})\.fid$/.exec(name) ?? []
          return fid === undefined ? [] : [{ fid: Number(fid), devid }]
        })
      }),
  )
  return lists.flat()
}

/** What the database tells of the files that something is wrong with. */
export async function evidence({ system, wrong }: Run): Promise<string[]> {
  const fids = wrong.flatMap(text => /\bfid (\d+)/.exec(text)?.[1] ?? []).map(Number)
  const rows = await Promise.all(
    ['audit', 'fsck_log', 'file', 'trash', 'delete_job', 'replicate_job', 'rebalance_job'].map(
      async table => {
        const found = await system.sql<{ row: unknown }>(
          `select row_to_json(one) as row from ${table} as one where fid = any($1::bigint[])`,
          [fids],
        )
        return found.map(({ row }) => `${table}: ${JSON.stringify(row)}`)
      },
    ),
  )
  const sweeps = await system.sql<{ row: unknown }>('select row_to_json(sweep) as row from sweep')
  return [...wrong, ...rows.flat(), ...sweeps.map(({ row }) => JSON.stringify(row))]
}
