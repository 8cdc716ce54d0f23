-- name: target
-- What must be known of a process to measure it; nothing once it has ended.
SELECT p.process_id, p.org_id, p.app_id, p.exposed_ports, d.ports
FROM processes p JOIN deployments d ON d.deployment_id = p.deployment_id
WHERE p.process_id = :process_id AND p.booted_at IS NOT NULL AND p.terminated_at IS NULL

-- name: owner
-- Whose a process is.
SELECT org_id, app_id FROM processes WHERE process_id = :process_id

-- name: last
-- What was measured last of a process.
SELECT process_id, seen_at, measured_at, cpu_ms, memory_bytes, egress_bytes, connections, connections_changed_at
FROM process_usage WHERE process_id = :process_id

-- name: keep_last
-- What stands there from now on; what is measured at the end (seen_at 0) does not say that it ran.
INSERT INTO process_usage (process_id, seen_at, measured_at, cpu_ms, memory_bytes, egress_bytes, connections,
                           connections_changed_at)
VALUES (:process_id, :seen_at, :at, :cpu_ms, :memory_bytes, :egress_bytes, :connections, :at)
ON CONFLICT (process_id) DO UPDATE SET
    seen_at = CASE WHEN excluded.seen_at > process_usage.seen_at THEN excluded.seen_at ELSE process_usage.seen_at END,
    measured_at = excluded.measured_at, cpu_ms = excluded.cpu_ms,
    memory_bytes = excluded.memory_bytes, egress_bytes = excluded.egress_bytes,
    connections = excluded.connections,
    connections_changed_at = CASE
        WHEN COALESCE(process_usage.connections, 0) = COALESCE(excluded.connections, 0)
        THEN process_usage.connections_changed_at ELSE excluded.connections_changed_at END

-- name: keep_sample
-- One measurement, at the finest resolution.
INSERT INTO usage_samples (process_id, step_s, at, cpu_ms, memory_bytes, egress_bytes, connections)
VALUES (:process_id, :step_s, :at, :cpu_ms, :memory_bytes, :egress_bytes, :connections)
ON CONFLICT (process_id, step_s, at) DO NOTHING

-- name: samples
-- A process's samples of one resolution, oldest first.
SELECT at, cpu_ms, memory_bytes, egress_bytes, connections FROM usage_samples
WHERE process_id = :process_id AND step_s = :step_s AND at > :since AND at <= :until
ORDER BY at LIMIT 4000

-- name: roll_up
-- A process's coarser sample of one step: the counters' last values, the most of the rest.
INSERT INTO usage_samples (process_id, step_s, at, cpu_ms, memory_bytes, egress_bytes, connections)
SELECT process_id, :step_s, MAX(at), MAX(cpu_ms), MAX(memory_bytes), MAX(egress_bytes), MAX(connections)
FROM usage_samples
WHERE process_id = :process_id AND step_s = :finer_s AND at >= :since AND at < :until
GROUP BY process_id
ON CONFLICT (process_id, step_s, at) DO NOTHING

-- name: forget_samples
-- A bounded share of the samples of a resolution that are past their time.
DELETE FROM usage_samples WHERE (process_id, step_s, at) IN (
    SELECT process_id, step_s, at FROM usage_samples WHERE step_s = :step_s AND at < :before
    ORDER BY at LIMIT :share)

-- name: keep_peak
-- The most that an organization has requested at a time within an hour.
INSERT INTO vcpu_peaks (org_id, hour, cpu_millis)
SELECT org_id, :hour, SUM(cpu_millis) FROM processes
WHERE removed = 0 AND terminated_at IS NULL GROUP BY org_id
ON CONFLICT (org_id, hour) DO UPDATE SET cpu_millis = excluded.cpu_millis
WHERE vcpu_peaks.cpu_millis < excluded.cpu_millis

-- name: forget_peaks
-- Hours that nobody asks for any more.
DELETE FROM vcpu_peaks WHERE hour < :before

-- name: peak
-- The most since an hour.
SELECT MAX(cpu_millis) AS cpu_millis FROM vcpu_peaks WHERE org_id = :org_id AND hour >= :since
