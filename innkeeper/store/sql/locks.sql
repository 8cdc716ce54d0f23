-- name: of_room
-- Where a room is; that never changes.
SELECT app_id, region FROM rooms WHERE room_id = :room_id

-- name: of_process
-- Where a process is; that never changes.
SELECT app_id, region FROM processes WHERE process_id = :process_id
