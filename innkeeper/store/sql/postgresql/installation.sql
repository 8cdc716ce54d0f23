-- name: probe
-- As on SQLite; where another server asks in the same instant, its write says as much. So no probe waits for one.
UPDATE installation SET probes = probes + 1
WHERE one = (SELECT one FROM installation FOR UPDATE SKIP LOCKED)
