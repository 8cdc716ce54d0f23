-- name: insert
-- One event of a room, all of it known.
INSERT INTO events (at, org_id, app_id, room_id, process_id, kind, cause)
VALUES (:at, :org_id, :app_id, :room_id, :process_id, :kind, :cause)

-- name: of_app
-- One event of an app itself.
INSERT INTO events (at, org_id, app_id, kind, cause)
SELECT CAST(:at AS BIGINT), org_id, app_id, :kind, CAST(:cause AS TEXT) FROM apps WHERE app_id = :app_id

-- name: of_process
-- One event of a process.
INSERT INTO events (at, org_id, app_id, process_id, kind, cause)
SELECT CAST(:at AS BIGINT), org_id, app_id, process_id, :kind, CAST(:cause AS TEXT)
FROM processes WHERE process_id = :process_id

-- name: of_room
-- One event of a room; the process is the one it is on now.
INSERT INTO events (at, org_id, app_id, room_id, process_id, kind, cause)
SELECT CAST(:at AS BIGINT), a.org_id, r.app_id, r.room_id, r.process_id, :kind, CAST(:cause AS TEXT)
FROM rooms r JOIN apps a ON a.app_id = r.app_id WHERE r.room_id = :room_id

-- name: of_rooms_on_process
-- The same event of every room that is on a process now.
INSERT INTO events (at, org_id, app_id, room_id, process_id, kind, cause)
SELECT CAST(:at AS BIGINT), a.org_id, r.app_id, r.room_id, r.process_id, :kind, CAST(:cause AS TEXT)
FROM rooms r JOIN apps a ON a.app_id = r.app_id WHERE r.process_id = :process_id ORDER BY r.room_id

-- name: of_unplaced_rooms
-- The same event of every live room of an app that is on no process.
INSERT INTO events (at, org_id, app_id, room_id, process_id, kind, cause)
SELECT CAST(:at AS BIGINT), a.org_id, r.app_id, r.room_id, NULL, :kind, CAST(:cause AS TEXT)
FROM rooms r JOIN apps a ON a.app_id = r.app_id
WHERE r.app_id = :app_id AND r.process_id IS NULL AND r.status <> 'destroyed' ORDER BY r.room_id

-- name: after
-- What came after a reader's place, in order; only what can no longer be overtaken.
SELECT 0 AS "order", seq, at, org_id, app_id, room_id, process_id, kind, cause FROM events
WHERE :after_order >= 0 AND seq > :after_seq ORDER BY seq LIMIT :most

-- name: newest
-- Where a reader begins who wants only what comes.
SELECT 0 AS "order", COALESCE(MAX(seq), 0) AS seq FROM events

-- name: of_one_room
-- Every event of a room, in order.
SELECT 0 AS "order", seq, at, org_id, app_id, room_id, process_id, kind, cause FROM events
WHERE room_id = :room_id AND kind <> 'room.created'
UNION ALL
SELECT 0, e.seq, e.at, e.org_id, e.app_id, e.room_id, e.process_id, e.kind, e.cause
FROM rooms r JOIN events e ON e.seq = r.created_seq AND e.room_id = r.room_id WHERE r.room_id = :room_id
ORDER BY 2 LIMIT 10000

-- name: of_one_process
-- Every event of a process itself, in order.
SELECT 0 AS "order", seq, at, org_id, app_id, room_id, process_id, kind, cause FROM events
WHERE process_id = :process_id AND room_id IS NULL ORDER BY seq LIMIT 10000

-- name: forget
-- Drop old events, a bounded share; the newest stays, so that no id is given twice.
DELETE FROM events WHERE seq IN (
    SELECT seq FROM events WHERE at < :before AND seq < (SELECT MAX(seq) FROM events) ORDER BY seq LIMIT 5000)

-- name: of_its_rooms
-- The events of rooms on a process, in order: of those that are on it now, and of those that were.
SELECT 0 AS "order", e.seq, e.at, e.org_id, e.app_id, e.room_id, e.process_id, e.kind, e.cause
FROM (SELECT room_id FROM rooms WHERE process_id = :process_id
      UNION SELECT room_id FROM past_allocations WHERE process_id = :process_id LIMIT 1000) AS on_it
JOIN rooms r ON r.room_id = on_it.room_id
JOIN events e ON e.seq = r.created_seq AND e.room_id = r.room_id AND e.process_id = :process_id
UNION ALL
SELECT 0, e.seq, e.at, e.org_id, e.app_id, e.room_id, e.process_id, e.kind, e.cause
FROM (SELECT room_id FROM rooms WHERE process_id = :process_id
      UNION SELECT room_id FROM past_allocations WHERE process_id = :process_id LIMIT 1000) AS on_it
JOIN events e ON e.room_id = on_it.room_id AND e.kind <> 'room.created' AND e.process_id = :process_id
ORDER BY 2 LIMIT 10000

-- name: kept
-- Whether a reader who goes on after a place misses nothing: it lies within what is kept, or just before it.
SELECT 1 AS kept WHERE :order = 0
  AND EXISTS (SELECT 1 FROM events WHERE seq <= CAST(:seq AS BIGINT) + 1)
  AND EXISTS (SELECT 1 FROM events WHERE seq >= CAST(:seq AS BIGINT))
