/** What the status page shows of a running reproxy. */
import type { Site } from '../request/site.ts'
import type { StatusTable } from './admin.ts'

/** The tables for a site with so many requests in progress. */
export function statusTables(site: Site, inflight: number): StatusTable[] {
  const { bytes, entries } = site.files.bodies.use
  return [
    {
      title: 'Requests',
      columns: ['in progress', 'process', 'up for seconds'],
      rows: [[inflight, process.pid, Math.round(process.uptime())]],
    },
    {
      title: 'Servers',
      columns: ['pool', 'server', 'state', 'in progress', 'waiting'],
      rows: [...site.pools].flatMap(([pool, { backends }]) =>
        backends.all.map(({ name, up, gate }) => [
          pool === '' ? 'apps' : pool,
          name,
          up ? 'up' : 'away',
          gate.used,
          gate.waiting,
        ]),
      ),
    },
    {
      title: 'Storage nodes',
      columns: ['node', 'breaker', 'in progress', 'waiting'],
      rows: [...site.nodes.states()].map(({ name, breaker, gate }) => [
        name,
        breaker.state,
        gate.used,
        gate.waiting,
      ]),
    },
    {
      title: 'Caches',
      columns: ['cache', 'entries', 'bytes'],
      rows: [
        ['locations', site.maps.size, ''],
        ['bodies', entries, bytes],
      ],
    },
  ]
}
