-- name: target
-- Whether the app is the caller's and alive, and which deployment is its latest: what CreateRoom needs to begin.
SELECT a.app_id, a.org_id, a.latest_deployment_id, d.rooms_per_process
FROM apps a LEFT JOIN deployments d ON d.deployment_id = a.latest_deployment_id
WHERE a.app_id = :app_id AND a.org_id = :org_id AND a.deleted_at IS NULL

-- name: exists
-- Whether a room id was ever used: ids stay taken for ever.
SELECT 1 AS taken FROM rooms WHERE room_id = :room_id

-- name: insert
-- A new room with its first allocation; its first event is the latest of the journal.
INSERT INTO rooms (room_id, app_id, region, room_config, status, process_id, room_allocation_id,
                   scheduled_at, created_at, created_seq)
VALUES (:room_id, :app_id, :region, :room_config, 'active', :process_id, :room_allocation_id,
        :scheduled_at, :created_at, (SELECT MAX(seq) FROM events))

-- name: insert_waiting
-- A new room that found no place yet.
INSERT INTO rooms (room_id, app_id, region, room_config, status, created_at, created_seq)
VALUES (:room_id, :app_id, :region, :room_config, 'scheduling', :created_at, (SELECT MAX(seq) FROM events))

-- name: insert_with_lobby
-- A new room that has a lobby; a local one's has no allocation.
INSERT INTO rooms (room_id, app_id, region, room_config, status, process_id, room_allocation_id,
                   scheduled_at, created_at, lobby_visibility, created_seq)
VALUES (:room_id, :app_id, :region, :room_config, :status, :process_id, :room_allocation_id,
        :scheduled_at, :created_at, :lobby_visibility, (SELECT MAX(seq) FROM events))

-- name: by_id
-- One room of an app, with its current allocation.
SELECT room_id, app_id, region, room_config, status, process_id, room_allocation_id, scheduled_at,
       created_at, destroyed_at, end_reason
FROM rooms WHERE room_id = :room_id AND app_id = :app_id

-- name: connection
-- What a player polls: the room's status and its process's address; one indexed read.
SELECT r.room_id, r.status, p.process_id, p.started_at, p.stopping_at, p.terminated_at, p.exposed_ports
FROM rooms r
JOIN apps a ON a.app_id = r.app_id AND a.deleted_at IS NULL
LEFT JOIN processes p ON p.process_id = r.process_id
WHERE r.room_id = :room_id AND r.app_id = :app_id

-- name: state
-- How a room is: whether players can connect, and why not; for its caller who waits.
SELECT r.room_id, r.status, r.end_reason, p.process_id, p.started_at, p.exposed_ports
FROM rooms r LEFT JOIN processes p ON p.process_id = r.process_id
WHERE r.room_id = :room_id

-- name: past_allocations
-- The room's earlier allocations, oldest first.
SELECT room_allocation_id, process_id, scheduled_at, unscheduled_at
FROM past_allocations WHERE room_id = :room_id ORDER BY scheduled_at, unscheduled_at

-- name: keep_allocation
-- Move a room's current allocation to its history.
INSERT INTO past_allocations (room_allocation_id, room_id, process_id, scheduled_at, unscheduled_at)
SELECT room_allocation_id, room_id, process_id, scheduled_at,
       CASE WHEN :now > scheduled_at THEN :now ELSE scheduled_at END FROM rooms
WHERE room_id = :room_id AND process_id IS NOT NULL

-- name: destroy
-- End one room; its config goes, its id stays taken.
UPDATE rooms SET status = 'destroyed', process_id = NULL, room_allocation_id = NULL, scheduled_at = NULL,
                 room_config = NULL, destroyed_at = :now, end_reason = :reason
WHERE room_id = :room_id AND status <> 'destroyed'

-- name: suspend
-- Take a room off its process; id and config stay.
UPDATE rooms SET status = 'suspended', process_id = NULL, room_allocation_id = NULL, scheduled_at = NULL
WHERE room_id = :room_id AND status = 'active'

-- name: allocate_again
-- Give a suspended room a new allocation, or one that waited its first.
UPDATE rooms SET status = 'active', process_id = :process_id, room_allocation_id = :room_allocation_id,
                 scheduled_at = :scheduled_at
WHERE room_id = :room_id AND status IN ('suspended', 'scheduling')

-- name: set_config
-- Replace a live room's config.
UPDATE rooms SET room_config = :room_config
WHERE room_id = :room_id AND app_id = :app_id AND status <> 'destroyed'

-- name: active_on_process
-- Rooms allocated to a process now, oldest first: never cut, for servers look for theirs.
SELECT room_id, app_id, region, room_config, status, process_id, room_allocation_id, scheduled_at,
       created_at, destroyed_at, end_reason
FROM rooms WHERE process_id = :process_id ORDER BY scheduled_at, room_id

-- name: inactive_on_process
-- Rooms that were allocated to a process, newest first, at most 100 (behaviour.md 5.5).
SELECT DISTINCT r.room_id, r.app_id, r.region, r.room_config, r.status, r.process_id, r.room_allocation_id,
       r.scheduled_at, r.created_at, r.destroyed_at, r.end_reason
FROM past_allocations a JOIN rooms r ON r.room_id = a.room_id
WHERE a.process_id = :process_id AND (r.process_id IS NULL OR r.process_id <> :process_id)
ORDER BY r.created_at DESC, r.room_id LIMIT 100

-- name: keep_allocations_of_process
-- Move all current allocations on a process to the history.
INSERT INTO past_allocations (room_allocation_id, room_id, process_id, scheduled_at, unscheduled_at)
SELECT room_allocation_id, room_id, process_id, scheduled_at,
       CASE WHEN :now > scheduled_at THEN :now ELSE scheduled_at END FROM rooms WHERE process_id = :process_id

-- name: destroy_on_process
-- End every room on a process, with the reason.
UPDATE rooms SET status = 'destroyed', process_id = NULL, room_allocation_id = NULL, scheduled_at = NULL,
                 room_config = NULL, destroyed_at = :now, end_reason = :reason
WHERE process_id = :process_id

-- name: forget_history
-- Drop allocations of rooms that ended before; the ids stay taken. Bounded, so that it never holds the writer.
DELETE FROM past_allocations WHERE room_allocation_id IN (
    SELECT a.room_allocation_id FROM past_allocations a JOIN rooms r ON r.room_id = a.room_id
    WHERE r.destroyed_at IS NOT NULL AND r.destroyed_at < :before LIMIT 1000)
