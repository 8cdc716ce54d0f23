-- name: check
-- As on SQLite; whoever would take the lease waits until this transaction has ended. Renewing it need not wait.
SELECT 1 AS holds FROM leases WHERE name = :name AND fence = :fence FOR KEY SHARE

-- name: take
-- As on SQLite; it waits for every transaction that has checked the fence.
UPDATE leases SET holder = :holder, place = :place, fence = fence + 1, renewals = 0
WHERE name = (SELECT name FROM leases
              WHERE name = :name AND fence = :fence AND renewals = :renewals FOR UPDATE)

-- name: free
-- As on SQLite; it waits as well.
UPDATE leases SET holder = NULL, place = NULL, fence = fence + 1, renewals = 0
WHERE name = (SELECT name FROM leases WHERE name = :name AND fence = :fence FOR UPDATE)
