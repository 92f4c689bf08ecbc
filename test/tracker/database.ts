/** A look into the database behind a tracker's back. */
import pg from 'pg'
import type { Test } from 'tap'

export type Sql = <Row = Record<string, unknown>>(
  text: string,
  values?: readonly unknown[],
) => Promise<Row[]>

/** Runs statements on `url`; bigint comes as a number. The connection ends with `t`. */
export async function openSql(t: Pick<Test, 'teardown'>, url: string): Promise<Sql> {
  const client = new pg.Client({
    connectionString: url,
    types: {
      getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
        oid === pg.types.builtins.INT8
          ? Number
          : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
    },
  })
  await client.connect()
  t.teardown(() => client.end())
  return async <Row>(text: string, values: readonly unknown[] = []) =>
    (await client.query(text, [...values])).rows as Row[]
}

const queries = {
  domain: 'select name from domain order by id',
  class: 'select domain_id, id, name, mindevcount, replpolicy, hashtype from class order by 1, 2',
  host: 'select name, status, ip, port, get_port, altip, altmask, zone from host order by id',
  device: 'select id, status, weight from device order by id',
  setting: 'select * from setting order by name',
  token: 'select id, name, scope, domain_id from token order by id',
  file: 'select key, fid, class_id, size, metadata, content_type, modified_at from file order by key',
  upload: 'select fid, expires_at, committed_at from upload order by fid',
  delete_job: 'select fid from delete_job order by fid',
}

/** Everything that a client can change, to compare before and after. */
export async function contents(sql: Sql): Promise<Record<string, unknown[]>> {
  const tables: Record<string, unknown[]> = {}
  for (const [name, query] of Object.entries(queries)) tables[name] = await sql(query)
  return tables
}
