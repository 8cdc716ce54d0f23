-- The journal of the room in play, and somebody who is told of it.
INSERT INTO events (at, org_id, app_id, room_id, process_id, kind, cause)
VALUES (1400, 'org-1', 'app-1', NULL, 'cccccccc-0000-4000-8000-000000000001', 'process.created', 'a room'),
       (1400, 'org-1', 'app-1', 'room-1', 'cccccccc-0000-4000-8000-000000000001', 'room.created', NULL);
INSERT INTO webhooks (webhook_id, org_id, app_id, url, secret, kinds, created_at, created_by, sent_seq)
VALUES ('hook-1', 'org-1', 'app-1', 'https://studio.test/hook', 'secret', '["room.created"]', 2800, 'org-token-1', 1);
