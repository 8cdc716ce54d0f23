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
SELECT room_id, region, status, process_id, end_reason FROM rooms ORDER BY created_at, room_id

-- name: owned_ports
-- Who owns which host port.
SELECT port, owner FROM host_ports WHERE owner IS NOT NULL

-- name: sent
-- What all processes have sent, as their counters stood last.
SELECT COALESCE(SUM(egress_bytes), 0) AS bytes FROM process_usage

-- name: months_sent
-- What stands in the months as sent.
SELECT COALESCE(SUM(egress_bytes), 0) AS bytes FROM metered_months

-- name: invoices
-- Every invoice with its lines: one row without a line where it has none.
SELECT i.invoice_id, i.month, i.amount_micros AS total_micros, i.credit_micros, l.kind, l.quantity,
       l.price_micros, l.amount_micros
FROM invoices i LEFT JOIN invoice_items l ON l.invoice_id = i.invoice_id ORDER BY i.month, l.position

-- name: waiting
-- Every room that waits for capacity.
SELECT room_id, app_id, region, number, deadline FROM waiting_rooms ORDER BY app_id, region, number
