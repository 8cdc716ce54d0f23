-- name: insert
-- A room joins the end of its app's and region's queue.
INSERT INTO waiting_rooms (room_id, app_id, region, number, deployment_id, deadline, short, machine_full)
SELECT :room_id, :app_id, :region, COALESCE(MAX(number), 0) + 1, CAST(:deployment_id AS TEXT),
       CAST(:deadline AS BIGINT), CAST(:short AS TEXT), CAST(:machine_full AS BIGINT)
FROM waiting_rooms WHERE app_id = :app_id AND region = :region

-- name: ahead
-- How many rooms of an app wait in a region before this place in the queue.
SELECT COUNT(*) AS count FROM waiting_rooms WHERE app_id = :app_id AND region = :region AND number < :number

-- name: queue
-- The rooms of an app that wait in a region, in their order.
SELECT room_id, region, deadline, short FROM waiting_rooms
WHERE app_id = :app_id AND region = :region ORDER BY number LIMIT 100

-- name: by_room
-- One room that waits.
SELECT room_id, app_id, region, number, deployment_id, short FROM waiting_rooms WHERE room_id = :room_id

-- name: keep_short
-- What it lacks now.
UPDATE waiting_rooms SET short = :short, machine_full = :machine_full WHERE room_id = :room_id

-- name: leave
-- It waits no longer.
DELETE FROM waiting_rooms WHERE room_id = :room_id

-- name: leave_app
-- The app was deleted: none of its rooms waits any longer.
DELETE FROM waiting_rooms WHERE app_id = :app_id

-- name: keys
-- Where rooms wait for what the machine may give back; the oldest first.
SELECT app_id, region FROM waiting_rooms WHERE machine_full = 1
GROUP BY app_id, region ORDER BY MIN(deadline), app_id, region LIMIT 100
