/**
 * What MogileFS's tracker asks its database for each command, prepared, on a bare pool: the baseline
 * of the tracker benchmarks. Tables and statements are cut to what the command needs; there is
 * neither a protocol nor a tracker around them, so the original itself is slower than this.
 */
import pg from 'pg'
import { keyOf } from './tracker.ts'

export interface Statements {
  getPaths(key: string): Promise<void>
  fileInfo(key: string): Promise<void>
  listKeys(after: string): Promise<void>
  createOpen(): Promise<number>
  createOpenAndClose(key: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  remove(key: string): Promise<void>
}

const schema = `
  create schema original;
  create table original.file (fid bigint primary key, dmid smallint not null, dkey text not null,
    length bigint, classid smallint not null, devcount smallint not null, unique (dmid, dkey));
  create table original.file_on (fid bigint, devid int, primary key (fid, devid));
  create table original.tempfile (fid bigserial primary key, createtime int, classid smallint,
    dmid smallint, dkey text, devids text);
  create table original.file_to_replicate (fid bigint primary key, nexttry int, fromdevid int,
    failcount smallint, flags smallint);
  create table original.file_to_delete2 (fid bigint primary key, nexttry int, failcount smallint)`

/** Puts the tables with `files` files beside the tracker's own, and opens a pool of 16. */
export async function startStatements(
  databaseUrl: string,
  files: number,
  atEnd: (close: () => Promise<unknown>) => void,
): Promise<Statements> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 16 })
  atEnd(() => pool.end())
  await pool.query(schema)
  const keys = Array.from({ length: files }, (_, i) => keyOf(i))
  await pool.query(
    `with new as (
       insert into original.file
       select 1000000000 + at, 1, key, 1, 1, 2 from unnest($1::text[]) with ordinality as k (key, at)
       returning fid
     )
     insert into original.file_on select fid, 1 + (fid + i) % 3 from new, generate_series(0, 1) as i`,
    [keys],
  )
  await pool.query('vacuum analyze original.file, original.file_on')
  const run = async <Row extends pg.QueryResultRow>(
    name: string,
    text: string,
    values: unknown[],
  ): Promise<Row[]> => (await pool.query<Row>({ name, text, values })).rows
  const find = async (key: string): Promise<number> => {
    const text =
      'select fid, length, classid, devcount from original.file where dmid = $1 and dkey = $2'
    const [row] = await run<{ fid: number }>('find', text, [1, key])
    if (!row) throw new Error(`no ${key}`)
    return row.fid
  }
  const createOpen = async (): Promise<number> => {
    const text = `insert into original.tempfile (createtime, classid, dmid, dkey, devids)
      values (extract(epoch from now()), 1, 1, $1, '1,2,3') returning fid`
    const [row] = await run<{ fid: number }>('open', text, [''])
    return row!.fid
  }
  return {
    createOpen,
    async getPaths(key) {
      const fid = await find(key)
      await run('devices', 'select devid from original.file_on where fid = $1', [fid])
    },
    async fileInfo(key) {
      await find(key)
    },
    async listKeys(after) {
      const text = `select dkey from original.file where dmid = 1 and dkey collate "C" like 'files/%'
        and dkey > $1 order by dkey limit 1000`
      await run('list', text, [after])
    },
    async createOpenAndClose(key) {
      const fid = await createOpen()
      await run('take', 'delete from original.tempfile where fid = $1 returning *', [fid])
      await run(
        'find',
        'select fid, length, classid, devcount from original.file where dmid = $1 and dkey = $2',
        [1, key],
      )
      await run('on', 'insert into original.file_on values ($1, 1) on conflict do nothing', [fid])
      const put = `insert into original.file values ($1, 1, $2, 1, 1, 1)
        on conflict (dmid, dkey) do update set fid = excluded.fid`
      await run('put', put, [fid, key])
      const count = `update original.file set devcount =
        (select count(*) from original.file_on where fid = $1) where fid = $1`
      await run('count', count, [fid])
      const queue = `insert into original.file_to_replicate values ($1, 0, null, 0, 0)
        on conflict do nothing`
      await run('queue', queue, [fid])
    },
    async rename(from, to) {
      const fid = await find(from)
      await run('rename', 'update original.file set dkey = $2 where fid = $1', [fid, to])
    },
    async remove(key) {
      const fid = await find(key)
      await run('gone', 'delete from original.file where fid = $1', [fid])
      const queue = `insert into original.file_to_delete2 values ($1, 0, 0) on conflict do nothing`
      await run('bytes', queue, [fid])
    },
  }
}
