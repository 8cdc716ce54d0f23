-- name: live_by_id
-- One org's app that is not deleted.
SELECT * FROM apps WHERE app_id = :app_id AND org_id = :org_id AND deleted_at IS NULL

-- name: live_anywhere
-- An app that is not deleted, for calls that carry no org: player logins, lobbies, connection info.
SELECT * FROM apps WHERE app_id = :app_id AND deleted_at IS NULL

-- name: live_by_name
-- Who holds a name among an org's apps that are not deleted.
SELECT * FROM apps WHERE org_id = :org_id AND app_name = :app_name AND deleted_at IS NULL

-- name: live_of_org
-- An org's apps, newest first.
SELECT * FROM apps WHERE org_id = :org_id AND deleted_at IS NULL
ORDER BY created_at DESC, app_id DESC LIMIT 10000

-- name: insert
-- A new app, without deployments.
INSERT INTO apps (app_id, org_id, app_name, app_secret, auth_configuration, service_config,
                  created_at, created_by)
VALUES (:app_id, :org_id, :app_name, :app_secret, :auth_configuration, :service_config,
        :created_at, :created_by)

-- name: change
-- What a studio may change of an app.
UPDATE apps SET app_name = :app_name, auth_configuration = :auth_configuration,
                service_config = :service_config
WHERE app_id = :app_id

-- name: mark_deleted
-- The row stays for bills and for processes that are still ending; the name is free again.
UPDATE apps SET deleted_at = :deleted_at, deleted_by = :deleted_by WHERE app_id = :app_id

-- name: regions_unfinished
-- Where an app still has something in the runtime.
SELECT DISTINCT region FROM processes WHERE app_id = :app_id AND removed = 0 ORDER BY region LIMIT 1000

-- name: end_unplaced_rooms
-- The rooms of a deleted app that no process holds.
UPDATE rooms SET status = 'destroyed', destroyed_at = :destroyed_at, end_reason = :end_reason,
                 room_config = NULL
WHERE app_id = :app_id AND status IN ('scheduling', 'suspended')
