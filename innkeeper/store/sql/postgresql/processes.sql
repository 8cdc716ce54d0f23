-- name: take_slot
-- As on SQLite; the row is locked as it is chosen, so that one that another writer fills or stops is passed over.
UPDATE processes SET rooms_allocated = rooms_allocated + 1, idle_since = NULL, emptied_at = NULL
WHERE process_id = (
    SELECT process_id FROM processes
    WHERE deployment_id = :deployment_id AND region = :region
      AND accepting = 1 AND rooms_allocated < rooms_per_process
      AND NOT EXISTS (SELECT 1 FROM waiting_rooms
                      WHERE app_id = :app_id AND region = :region AND number < :number)
    ORDER BY (started_at IS NULL), rooms_allocated DESC, created_at LIMIT 1 FOR UPDATE)
RETURNING process_id, started_at, exposed_ports
