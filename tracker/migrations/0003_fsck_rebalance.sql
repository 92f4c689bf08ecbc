-- State and work of fsck and rebalance, and views for those who read a MogileFS database by SQL.
-- What runs and how far it got are rows of setting, under the names that operators know.

-- One row: its lock serialises what changes that state, and numbers the log in the order of commits,
-- so that a reader who goes on behind the last number that it saw misses nothing.
create table upkeep (
  id int primary key check (id = 1),
  last_logid bigint not null
);

insert into upkeep (id, last_logid) values (1, 0);

-- No version of the program writes to fsck_log without this column: the table is empty.
alter table fsck_log add column logid bigint not null;
create unique index fsck_log_logid on fsck_log (logid, slot);

create table rebalance_job (
  fid bigint not null,
  next_try timestamptz not null, -- infinity: waits for a person
  queued_at timestamptz not null default now(),
  devid int not null, -- the replica there is to go
  attempts int not null default 0,
  slot smallint not null,
  devids int[] not null, -- where it may go to
  last_error text,
  primary key (fid, devid, slot)
);
create index rebalance_job_due on rebalance_job (next_try);

create schema mogilefs;
do $$
begin
  if current_schema() = 'mogilefs' then
    raise exception 'the schema mogilefs must not come first in the search_path'
      using detail = 'Its views would hide the tables that they show. The first schema of the '
        'search_path is the one called like the role: connect as a role with another name.';
  end if;
end
$$;

-- A key as text: itself where it is UTF-8 (RFC 3629, and no NUL), else with octal escapes.
create function mogilefs.dkey(key bytea) returns text
language sql stable parallel safe as $$
  select case
    when getdatabaseencoding() = 'UTF8' and encode(key, 'hex') ~ (
      '^(0[1-9a-f]|[1-7][0-9a-f]'
      '|(c[2-9a-f]|d[0-9a-f])[89ab][0-9a-f]'
      '|e0[ab][0-9a-f][89ab][0-9a-f]'
      '|e[1-9abcef]([89ab][0-9a-f]){2}'
      '|ed[89][0-9a-f][89ab][0-9a-f]'
      '|f0[9ab][0-9a-f]([89ab][0-9a-f]){2}'
      '|f[123]([89ab][0-9a-f]){3}'
      '|f48[0-9a-f]([89ab][0-9a-f]){2})*$'
    )
    then convert_from(key, 'UTF8')
    else encode(key, 'escape')
  end
$$;

-- A time of a queue as MogileFS has it: Unix time, and 2^31 - 1 for what waits for a person.
create function mogilefs.nexttry(at timestamptz) returns int
language sql immutable parallel safe as $$
  select case when at < 'infinity' then floor(extract(epoch from at))::int else 2147483647 end
$$;

create view mogilefs.domain as
  select id as dmid, name as namespace from domain;

create view mogilefs.class as
  select domain_id as dmid, id as classid, name as classname, mindevcount, hashtype, replpolicy
  from class;

create view mogilefs.file as
  select fid, domain_id as dmid, mogilefs.dkey(key) as dkey, size as length, class_id as classid,
    cardinality(devids) as devcount
  from file;

create view mogilefs.tempfile as
  select fid, floor(extract(epoch from opened_at))::int as createtime, class_id as classid,
    domain_id as dmid, mogilefs.dkey(key) as dkey, array_to_string(devids, ',') as devids
  from upload where committed_at is null;

-- Bytes that are still to be deleted are there, too.
create view mogilefs.file_on as
  select fid, unnest(devids) as devid from file
  union all
  select fid, unnest(devids) from delete_job;

create view mogilefs.host as
  select id as hostid, status, port as http_port, get_port as http_get_port, name as hostname,
    ip as hostip, altip, altmask
  from host;

create view mogilefs.device as
  select id as devid, host_id as hostid, status, weight, (total_bytes / 1048576)::int as mb_total,
    (used_bytes / 1048576)::int as mb_used, floor(extract(epoch from usage_at))::int as mb_asof
  from device;

create view mogilefs.server_settings as
  select name as field, value from setting;

-- 0 is what nobody has looked at yet.
create view mogilefs.file_to_replicate as
  select fid,
    case when attempts = 0 and next_try <= now() then 0 else mogilefs.nexttry(next_try) end
      as nexttry,
    null::int as fromdevid, attempts as failcount, 0 as flags
  from replicate_job;

create view mogilefs.file_to_delete2 as
  select fid, mogilefs.nexttry(next_try) as nexttry, attempts as failcount from delete_job;

create view mogilefs.file_to_queue as
  select fid, null::int as devid, 1::smallint as type, mogilefs.nexttry(next_try) as nexttry,
    attempts as failcount, 0 as flags, null::text as arg
  from check_job
  union all
  select fid, devid, 2::smallint, mogilefs.nexttry(next_try), attempts, 0,
    array_to_string(devids, ',')
  from rebalance_job;

create view mogilefs.fsck_log as
  select logid, floor(extract(epoch from at))::int as utime, fid, event as evcode, devid
  from fsck_log;

create view mogilefs.checksum as
  select fid, hashtype, checksum from file where checksum is not null;

-- What MogileFS itself no longer writes.
create view mogilefs.file_to_delete as select null::bigint as fid where false;
create view mogilefs.file_to_delete_later as
  select null::bigint as fid, null::int as delafter where false;
create view mogilefs.file_on_corrupt as
  select null::bigint as fid, null::int as devid where false;
create view mogilefs.unreachable_fids as
  select null::bigint as fid, null::int as lastupdate where false;
create view mogilefs.lock as
  select null::int as lockid, null::text as hostname, null::int as pid, null::int as acquiredat
  where false;
