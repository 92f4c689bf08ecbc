-- Deleted files that can be had back keep their number of copies when a device is lost.
create index trash_devids on trash using gin (devids);
