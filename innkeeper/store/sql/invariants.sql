-- name: processes
-- Every process there ever was: for the checks of tests and simulations.
SELECT process_id, app_id, org_id, deployment_id, deployment_number, region, rooms_per_process, rooms_allocated, cpu_millis,
       memory_mb, created_at, scheduled_at, attempted_at, booted_at, started_at, stopping_at, term_sent_at,
       kill_sent_at, terminated_at, draining, failed, stop_reason, stop_grace_s, summary_exit_reason,
       exposed_ports, sandbox_id, initial_room_id, idle_since, removed, fleet_id,
       hosting, drain_reason, drained_at, emptied_at, made_for
FROM processes ORDER BY created_at, process_id

-- name: rooms
-- Every room there ever was: for the checks of tests and simulations.
SELECT room_id, status, process_id, end_reason FROM rooms ORDER BY created_at, room_id

-- name: owned_ports
-- Who owns which host port.
SELECT port, owner FROM host_ports WHERE owner IS NOT NULL
