-- name: app_deleted
-- Whether the app of a pass was deleted.
SELECT deleted_at FROM apps WHERE app_id = :app_id

-- name: quarantine_port
-- A port that something outside Innkeeper holds: nobody gets it for a while.
UPDATE host_ports SET owner = NULL, free_at = :free_at WHERE port = :port
