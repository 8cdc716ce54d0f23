-- name: lock
-- As on SQLite; until the end of the transaction, nobody else.
SELECT node_id FROM machine FOR UPDATE

-- name: take_port
-- As on SQLite; the row is locked as it is chosen, so that no port is given out twice.
UPDATE host_ports SET owner = :owner WHERE port = (
    SELECT port FROM host_ports WHERE owner IS NULL AND free_at <= :now
    ORDER BY free_at, port LIMIT 1 FOR UPDATE)
RETURNING port
