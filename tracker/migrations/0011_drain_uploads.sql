-- Open uploads that were offered a device which is to be emptied, and when they were counted.
alter table drain add column uploads int not null default 0;
alter table drain add column uploads_at timestamptz; -- null: not yet
