-- Looking a key up by its domain could use the index of classes as well, which a planner without
-- statistics took for as good as the primary key: it read the whole domain.
drop index file_class;
create index file_class on file (class_id, domain_id);
