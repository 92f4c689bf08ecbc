-- A host's second address is as much its own as the first.
create unique index host_altip on host (altip, port);
