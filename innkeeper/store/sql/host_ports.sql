-- name: insert_range
-- A row for each port of the range that has none.
WITH RECURSIVE wanted (port) AS (
    SELECT CAST(:first_port AS BIGINT)
    UNION ALL
    SELECT port + 1 FROM wanted WHERE port < :last_port)
INSERT INTO host_ports (port)
SELECT port FROM wanted WHERE port NOT IN (SELECT port FROM host_ports)

-- name: delete_outside
-- Forget ports outside the range; what is owned stays until its owner gives it back.
DELETE FROM host_ports WHERE owner IS NULL AND (port < :first_port OR port > :last_port)

-- name: of_range
-- The ports of a range that have a row, in order.
SELECT port, owner, free_at FROM host_ports
WHERE port BETWEEN :first_port AND :last_port ORDER BY port LIMIT 65536
