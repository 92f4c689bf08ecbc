-- Why a device is not as it should be, in the words of who looks at it for all; null: it is.
alter table observation add column why text;
