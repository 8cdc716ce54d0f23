-- name: quarantine_port
-- A port that something outside Innkeeper holds: nobody gets it for a while.
UPDATE host_ports SET free_at = :free_at WHERE port = :port AND owner IS NULL
