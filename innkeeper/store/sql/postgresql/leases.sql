-- name: check
-- As on SQLite; whoever would take the lease waits until this transaction has ended.
SELECT 1 AS holds FROM leases WHERE name = :name AND fence = :fence FOR SHARE
