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

-- name: counts
-- How many ports there are, and how many of them somebody owns.
SELECT COUNT(*) AS ports, COUNT(owner) AS owned FROM host_ports
