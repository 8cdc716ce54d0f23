-- name: waiting
-- A room's place in the queue for capacity: what was short, until when it waits, and how many wait before it.
SELECT w.short, w.deadline,
       (SELECT COUNT(*) FROM waiting_rooms b
        WHERE b.app_id = w.app_id AND b.region = w.region AND b.number < w.number) AS before_it
FROM waiting_rooms w WHERE w.room_id = :room_id

-- name: last_failure
-- Why the latest process of a deployment that never began ended.
SELECT summary_exit_reason FROM processes
WHERE app_id = :app_id AND deployment_id = :deployment_id AND failed = 1 AND started_at IS NULL
ORDER BY created_at DESC LIMIT 1

-- name: start_failures
-- How many of a deployment's starts failed in a row, and when the last one did.
SELECT start_failures, last_start_failure_at FROM deployment_starts WHERE deployment_id = :deployment_id
