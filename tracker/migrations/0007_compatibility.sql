-- What clients and tools of MogileFS see of devices, default classes and settings.

-- Whether the node refused a file that is not what its Content-MD5 says; null: not seen.
alter table observation add column rejects_bad_md5 boolean;

-- A default class that nobody has changed: to MogileFS's tools it has no row yet.
alter table class add column implicit boolean not null default false;
update class set implicit = true
where id = 0 and mindevcount = 2 and replpolicy is null and hashtype is null and ack_copies = 1;

create or replace view mogilefs.class as
  select domain_id as dmid, id as classid, name as classname, mindevcount, hashtype, replpolicy
  from class where not implicit;

-- The version of the tables that the views stand for.
create or replace view mogilefs.server_settings as
  select name as field, value from setting
  union all
  select 'schema_version', '17';
