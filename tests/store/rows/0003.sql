-- The room in play is a lobby; another one runs on its player's machine.
UPDATE rooms SET lobby_visibility = 'public' WHERE room_id = 'room-1';
INSERT INTO rooms (room_id, app_id, region, status, created_at, lobby_visibility)
VALUES ('room-4', 'app-1', 'Tokyo', 'scheduling', 2100, 'local');
INSERT INTO lobbies (room_id, app_id, number, short_code, short_code_chosen, created_by, created_at, counted,
                     text_length, initial_config, state)
VALUES ('room-1', 'app-1', 1, 'ABC123', 1, 'player-1', 1400, 1, 21, '{"mode": 1}', '{"round": 2}'),
       ('room-4', 'app-1', 2, 'room-4', 0, 'player-2', 2100, 1, 2, '{}', NULL);
