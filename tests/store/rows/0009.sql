-- A reconciler that was killed while it held the lease.
INSERT INTO leases (name, holder, place, fence, renewals) VALUES ('reconciler', 'a-server', 'a-place', 3, 40);
