-- Which token asked: names can be given again, numbers never are. null: another way in than HTTP.
alter table audit add column token_id int;
