-- Requests a second that a tracker takes with a token; null: any number.
alter table token add column rate int check (rate between 1 and 1000000);
