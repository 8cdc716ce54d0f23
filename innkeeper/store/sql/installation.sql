-- name: first
-- Who this installation is.
SELECT installation_id, url_secret, created_at FROM installation

-- name: insert
-- The one row of the installation, made at the first start.
INSERT INTO installation (one, installation_id, url_secret, created_at)
VALUES (1, :installation_id, :url_secret, :created_at)

-- name: probe
-- Done when the store accepts durable writes (readyz). It must change something, or nothing is written.
UPDATE installation SET probes = probes + 1

-- name: insert_machine
-- This machine, before its capacity is known.
INSERT INTO machine (node_id, cpu_millis, memory_mb) VALUES (:node_id, 0, 0)

-- name: set_machine
-- What the machine has now, and what is promised of it, counted anew from the records.
UPDATE machine SET
    cpu_millis = :cpu_millis,
    memory_mb = :memory_mb,
    cores = :cores,
    total_memory_mb = :total_memory_mb,
    cpu_millis_promised = (
        SELECT COALESCE(SUM(cpu_millis), 0) FROM processes WHERE terminated_at IS NULL),
    memory_mb_promised = (
        SELECT COALESCE(SUM(memory_mb), 0) FROM processes WHERE terminated_at IS NULL)
        + :sandbox_memory_mb * (SELECT COUNT(*) FROM sandboxes)
WHERE node_id = :node_id
