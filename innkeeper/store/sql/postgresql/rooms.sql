-- name: insert
-- As on SQLite; others write events, too, so that its first one is the latest of this connection.
INSERT INTO rooms (room_id, app_id, region, room_config, status, process_id, room_allocation_id,
                   scheduled_at, created_at, created_seq)
VALUES (:room_id, :app_id, :region, :room_config, 'active', :process_id, :room_allocation_id,
        :scheduled_at, :created_at, currval('events_seq_seq'))

-- name: insert_waiting
-- As on SQLite; others write events, too, so that its first one is the latest of this connection.
INSERT INTO rooms (room_id, app_id, region, room_config, status, created_at, created_seq)
VALUES (:room_id, :app_id, :region, :room_config, 'scheduling', :created_at, currval('events_seq_seq'))

-- name: insert_with_lobby
-- As on SQLite; others write events, too, so that its first one is the latest of this connection.
INSERT INTO rooms (room_id, app_id, region, room_config, status, process_id, room_allocation_id,
                   scheduled_at, created_at, lobby_visibility, created_seq)
VALUES (:room_id, :app_id, :region, :room_config, :status, :process_id, :room_allocation_id,
        :scheduled_at, :created_at, :lobby_visibility, currval('events_seq_seq'))
