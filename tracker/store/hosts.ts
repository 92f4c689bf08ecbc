/** Hosts and their devices, as configured. */
import type { DeviceStatus, HostStatus } from '../../common/protocol/configuration.ts'
import type { Db } from './db.ts'

export interface HostRow {
  id: number
  name: string
  status: HostStatus
  ip: string
  port: number
  getPort: number | null
  altip: string | null
  altmask: string | null
  zone: string | null
}

/** Sizes in bytes; null until the node has reported. */
export interface DeviceRow {
  devid: number
  hostId: number
  status: DeviceStatus
  weight: number
  totalBytes: number | null
  usedBytes: number | null
  /** Since when it is treated as lost. */
  lostAt: Date | null
}

export async function listHosts(db: Db): Promise<HostRow[]> {
  const { rows } = await db.query<HostRow>({
    name: 'hosts.list',
    text: `
      select id, name, status, ip, port, get_port as "getPort", altip, altmask, zone
      from host order by id`,
  })
  return rows
}

/** Creates a host and returns its id. Throws a unique violation on its name or its address. */
export async function insertHost(db: Db, host: Omit<HostRow, 'id'>): Promise<number> {
  const { rows } = await db.query<{ id: number }>({
    name: 'hosts.insert',
    text: `
      insert into host (name, status, ip, port, get_port, altip, altmask, zone)
      values ($1, $2, $3, $4, $5, $6, $7, $8)
      returning id`,
    values: [
      host.name,
      host.status,
      host.ip,
      host.port,
      host.getPort,
      host.altip,
      host.altmask,
      host.zone,
    ],
  })
  return rows[0]!.id
}

/** Writes a host's whole row. Throws a unique violation on its address. */
export async function updateHost(db: Db, host: HostRow): Promise<void> {
  await db.query({
    name: 'hosts.update',
    text: `
      update host set status = $2, ip = $3, port = $4, get_port = $5, altip = $6, altmask = $7,
        zone = $8
      where id = $1`,
    values: [
      host.id,
      host.status,
      host.ip,
      host.port,
      host.getPort,
      host.altip,
      host.altmask,
      host.zone,
    ],
  })
}

/** Removes a host. Throws a foreign key violation while it has devices. */
export async function removeHost(db: Db, id: number): Promise<void> {
  await db.query({ name: 'hosts.remove', text: 'delete from host where id = $1', values: [id] })
}

export async function listDevices(db: Db): Promise<DeviceRow[]> {
  const { rows } = await db.query<DeviceRow>({
    name: 'hosts.list_devices',
    text: `
      select id as devid, host_id as "hostId", status, weight, total_bytes as "totalBytes",
        used_bytes as "usedBytes", lost_at as "lostAt"
      from device order by id`,
  })
  return rows
}

/** Creates a device. Throws a unique violation on its number. */
export async function insertDevice(
  db: Db,
  device: Pick<DeviceRow, 'devid' | 'hostId' | 'status' | 'weight'>,
): Promise<void> {
  await db.query({
    name: 'hosts.insert_device',
    text: 'insert into device (id, host_id, status, weight) values ($1, $2, $3, $4)',
    values: [device.devid, device.hostId, device.status, device.weight],
  })
}

export async function updateDevice(
  db: Db,
  { devid, status, weight }: Pick<DeviceRow, 'devid' | 'status' | 'weight'>,
): Promise<void> {
  await db.query({
    name: 'hosts.update_device',
    text: 'update device set status = $2, weight = $3 where id = $1',
    values: [devid, status, weight],
  })
}

export interface Usage {
  readonly devid: number
  readonly totalBytes: number
  readonly usedBytes: number
}

/** Notes what nodes reported, unless another tracker did so within `seconds`. */
export async function updateUsage(
  db: Db,
  usages: readonly Usage[],
  seconds: number,
): Promise<void> {
  await db.query({
    name: 'hosts.update_usage',
    text: `
      update device set total_bytes = u.total, used_bytes = u.used, usage_at = now()
      from unnest($1::int[], $2::bigint[], $3::bigint[]) as u (devid, total, used)
      where device.id = u.devid
        and (usage_at is null or usage_at < now() - make_interval(secs => $4))`,
    values: [
      usages.map(u => u.devid),
      usages.map(u => u.totalBytes),
      usages.map(u => u.usedBytes),
      seconds,
    ],
  })
}
