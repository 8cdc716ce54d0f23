-- name: insert
-- A new lobby, beside its room and in the same transaction.
INSERT INTO lobbies (room_id, app_id, number, short_code, short_code_chosen, created_by, created_at, counted,
                     text_length, initial_config)
VALUES (:room_id, :app_id,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM lobbies WHERE app_id = :app_id),
        :short_code, :short_code_chosen, :created_by, :created_at, :counted,
        LENGTH(:initial_config), :initial_config)

-- name: by_room
-- The lobby of a live room of a live app.
SELECT l.*, r.region, r.room_config, r.lobby_visibility
FROM lobbies l
JOIN rooms r ON r.room_id = l.room_id AND r.status <> 'destroyed'
JOIN apps a ON a.app_id = l.app_id AND a.deleted_at IS NULL
WHERE l.room_id = :room_id AND l.app_id = :app_id

-- name: by_code
-- The newest lobby with a short code, of those whose room lives.
SELECT l.*, r.region, r.room_config, r.lobby_visibility
FROM lobbies l
JOIN rooms r ON r.room_id = l.room_id AND r.status <> 'destroyed'
JOIN apps a ON a.app_id = l.app_id AND a.deleted_at IS NULL
WHERE l.app_id = :app_id AND l.short_code = :short_code
ORDER BY l.number DESC LIMIT 1

-- name: code_taken
-- Whether a lobby whose room lives has this short code: a generated one must not hide it.
SELECT 1 AS taken FROM lobbies l JOIN rooms r ON r.room_id = l.room_id AND r.status <> 'destroyed'
WHERE l.app_id = :app_id AND l.short_code = :short_code LIMIT 1

-- name: listed
-- Lobbies of live rooms, newest first, at most 100 (behaviour.md 6), and no more than text_max characters of
-- their states and configs: 100 states of 1 MB would hold up everybody else. Old versions alone show states.
SELECT l.room_id, l.app_id, l.short_code, l.short_code_chosen, l.created_by, chosen.created_at,
       r.region, r.room_config, r.lobby_visibility,
       CASE WHEN :with_state = 1 THEN l.initial_config END AS initial_config,
       CASE WHEN :with_state = 1 THEN l.state END AS state
FROM (
    SELECT room_id, created_at, number,
           SUM(text) OVER (ORDER BY created_at DESC, number DESC ROWS UNBOUNDED PRECEDING) AS text_so_far
    FROM (
        SELECT r.room_id, r.created_at, l.number,
               COALESCE(LENGTH(r.room_config), 0)
                   + CASE WHEN :with_state = 1 THEN l.text_length ELSE 0 END AS text
        FROM rooms r
        JOIN lobbies l ON l.room_id = r.room_id
        JOIN apps a ON a.app_id = r.app_id AND a.deleted_at IS NULL
        WHERE r.app_id = :app_id AND r.lobby_visibility = :visibility AND r.lobby_visibility IS NOT NULL
          AND r.status IN ('scheduling', 'active') AND (CAST(:region AS TEXT) IS NULL OR r.region = :region)
        ORDER BY r.created_at DESC, l.number DESC LIMIT 100) AS newest) AS chosen
JOIN lobbies l ON l.room_id = chosen.room_id
JOIN rooms r ON r.room_id = chosen.room_id
WHERE chosen.text_so_far <= :text_max
ORDER BY chosen.created_at DESC, chosen.number DESC

-- name: set_state
-- Replace the state of a lobby.
UPDATE lobbies SET state = :state, text_length = LENGTH(initial_config) + LENGTH(:state)
WHERE room_id = :room_id AND app_id = :app_id

-- name: creation_at_limit
-- When a player made the lobby that is as many back as they may make in an hour.
SELECT created_at FROM lobbies
WHERE app_id = :app_id AND created_by = :created_by AND counted = 1
ORDER BY created_at DESC LIMIT 1 OFFSET :before_it

-- name: local_above
-- The newest of the local lobbies of an app that are one too many.
SELECT room_id FROM rooms
WHERE app_id = :app_id AND lobby_visibility = 'local' AND lobby_visibility IS NOT NULL
  AND status IN ('scheduling', 'active')
ORDER BY created_at DESC, room_id DESC LIMIT 1 OFFSET :kept

-- name: forget
-- Drop a lobby; its room's id stays taken.
DELETE FROM lobbies WHERE room_id = :room_id

-- name: forget_ended
-- Drop lobbies whose rooms ended a while ago. Bounded, so that it never holds the writer.
DELETE FROM lobbies WHERE room_id IN (
    SELECT room_id FROM rooms
    WHERE lobby_visibility IS NOT NULL AND status = 'destroyed' AND destroyed_at < :before
    ORDER BY destroyed_at, room_id LIMIT 2000)

-- name: mark_forgotten
-- The rooms of those lobbies, which the next round need not look at again.
UPDATE rooms SET lobby_visibility = NULL WHERE room_id IN (
    SELECT room_id FROM rooms
    WHERE lobby_visibility IS NOT NULL AND status = 'destroyed' AND destroyed_at < :before
    ORDER BY destroyed_at, room_id LIMIT 2000)
