-- name: processes_by_status
-- How many processes are in which status, of those that are not terminated.
SELECT CASE WHEN stopping_at IS NOT NULL THEN 'stopping'
            WHEN started_at IS NULL THEN 'starting'
            WHEN draining = 1 THEN 'draining' ELSE 'running' END AS status,
       COUNT(*) AS count
FROM processes WHERE removed = 0 AND terminated_at IS NULL GROUP BY 1

-- name: rooms_active
-- How many rooms are allocated to a process: the sum of their slots in use.
SELECT COALESCE(SUM(rooms_allocated), 0) AS count FROM processes WHERE removed = 0

-- name: ports_owned
-- How many host ports somebody owns.
SELECT COUNT(*) AS count FROM host_ports WHERE owner IS NOT NULL
