-- name: take
-- The oldest ready sandbox of a deployment goes to a process.
UPDATE sandboxes SET state = 'taken', process_id = :process_id WHERE sandbox_id = (
    SELECT sandbox_id FROM sandboxes WHERE deployment_id = :deployment_id AND state = 'ready'
    ORDER BY created_at LIMIT 1)
RETURNING sandbox_id, host_ports

-- name: insert
-- A sandbox to be made.
INSERT INTO sandboxes (sandbox_id, deployment_id, state, host_ports, created_at)
VALUES (:sandbox_id, :deployment_id, 'making', :host_ports, :created_at)

-- name: mark_ready
-- It is made.
UPDATE sandboxes SET state = 'ready', private_ip = :private_ip, ready_at = :ready_at
WHERE sandbox_id = :sandbox_id AND state = 'making'

-- name: all
-- Every sandbox; their number is bounded by the plan and the processes.
SELECT sandbox_id, deployment_id, state, host_ports, private_ip, process_id, created_at, ready_at
FROM sandboxes

-- name: claim_for_removal
-- Take an unjoined sandbox out of reach before the runtime removes it.
UPDATE sandboxes SET state = 'removing' WHERE sandbox_id = :sandbox_id AND state <> 'taken'

-- name: delete
-- It is gone.
DELETE FROM sandboxes WHERE sandbox_id = :sandbox_id

-- name: delete_of_process
-- The sandbox of a removed process is gone with it.
DELETE FROM sandboxes WHERE process_id = :process_id

-- name: used_deployments
-- Latest deployments of live apps, most recently used or made first.
SELECT d.deployment_id, d.ports FROM apps a
JOIN deployments d ON d.deployment_id = a.latest_deployment_id
JOIN builds b ON b.build_key = d.build_key
LEFT JOIN deployment_starts s ON s.deployment_id = d.deployment_id
WHERE a.deleted_at IS NULL AND b.deleted_at IS NULL
ORDER BY CASE WHEN s.last_used_at > d.created_at THEN s.last_used_at ELSE d.created_at END DESC LIMIT 100
