-- How many files there are, of which class and on which device, as one tracker has counted them.
create table tally (
  id int primary key check (id = 1),
  begun_at timestamptz not null,
  ended_at timestamptz not null,
  counts jsonb not null
);
