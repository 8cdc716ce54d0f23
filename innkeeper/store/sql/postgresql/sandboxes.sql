-- name: take
-- As on SQLite; the row is locked as it is chosen, so that no sandbox goes to two processes.
UPDATE sandboxes SET state = 'taken', process_id = :process_id WHERE sandbox_id = (
    SELECT sandbox_id FROM sandboxes WHERE deployment_id = :deployment_id AND state = 'ready'
    ORDER BY created_at LIMIT 1 FOR UPDATE)
RETURNING sandbox_id, host_ports
