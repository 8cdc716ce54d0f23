-- name: after
-- As on SQLite. With several writers a lower seq may be committed after a higher one: so in the order of
-- transactions, and only below the oldest one that still runs, for nothing can come before those any more.
SELECT tx_id AS "order", seq, at, org_id, app_id, room_id, process_id, kind, cause FROM events
WHERE (tx_id, seq) > (CAST(:after_order AS BIGINT), CAST(:after_seq AS BIGINT))
  AND tx_id < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)
ORDER BY tx_id, seq LIMIT :most

-- name: newest
-- As on SQLite, below the oldest transaction that still runs.
SELECT "order", seq FROM (
    (SELECT tx_id AS "order", seq FROM events
     WHERE tx_id < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)
     ORDER BY tx_id DESC, seq DESC LIMIT 1)
    UNION ALL SELECT 0, 0) AS places
ORDER BY "order" DESC, seq DESC LIMIT 1

-- name: of_one_room
-- As on SQLite: what changes a room is done under its app's lock, so that seq has the order of the changes.
SELECT tx_id AS "order", seq, at, org_id, app_id, room_id, process_id, kind, cause FROM events
WHERE room_id = :room_id AND kind <> 'room.created'
UNION ALL
SELECT e.tx_id, e.seq, e.at, e.org_id, e.app_id, e.room_id, e.process_id, e.kind, e.cause
FROM rooms r JOIN events e ON e.seq = r.created_seq AND e.room_id = r.room_id WHERE r.room_id = :room_id
ORDER BY 2 LIMIT 10000

-- name: of_one_process
-- As on SQLite, and as of_one_room.
SELECT tx_id AS "order", seq, at, org_id, app_id, room_id, process_id, kind, cause FROM events
WHERE process_id = :process_id AND room_id IS NULL ORDER BY seq LIMIT 10000

-- name: of_its_rooms
-- As on SQLite, and as of_one_room.
SELECT e.tx_id AS "order", e.seq, e.at, e.org_id, e.app_id, e.room_id, e.process_id, e.kind, e.cause
FROM (SELECT room_id FROM rooms WHERE process_id = :process_id
      UNION SELECT room_id FROM past_allocations WHERE process_id = :process_id LIMIT 1000) AS on_it
JOIN rooms r ON r.room_id = on_it.room_id
JOIN events e ON e.seq = r.created_seq AND e.room_id = r.room_id AND e.process_id = :process_id
UNION ALL
SELECT e.tx_id, e.seq, e.at, e.org_id, e.app_id, e.room_id, e.process_id, e.kind, e.cause
FROM (SELECT room_id FROM rooms WHERE process_id = :process_id
      UNION SELECT room_id FROM past_allocations WHERE process_id = :process_id LIMIT 1000) AS on_it
JOIN events e ON e.room_id = on_it.room_id AND e.kind <> 'room.created' AND e.process_id = :process_id
ORDER BY 2 LIMIT 10000

-- name: kept
-- As on SQLite.
SELECT 1 AS kept
WHERE EXISTS (SELECT 1 FROM events WHERE (tx_id, seq) <= (CAST(:order AS BIGINT), CAST(:seq AS BIGINT) + 1))
  AND EXISTS (SELECT 1 FROM events WHERE (tx_id, seq) >= (CAST(:order AS BIGINT), CAST(:seq AS BIGINT)))
