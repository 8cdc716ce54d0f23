-- name: next
-- Count one more build of an app: its number.
UPDATE apps SET builds_numbered = builds_numbered + 1 WHERE app_id = :app_id RETURNING builds_numbered

-- name: insert
-- The app's next build.
INSERT INTO app_build_numbers (app_id, number, build_key) VALUES (:app_id, :number, :build_key)

-- name: of_build
-- The number that a build has in an app.
SELECT number FROM app_build_numbers WHERE app_id = :app_id AND build_key = :build_key

-- name: build
-- The build that an app counts under a number, deleted or not.
SELECT b.*, n.number FROM app_build_numbers n JOIN builds b ON b.build_key = n.build_key
WHERE n.app_id = :app_id AND n.number = :number

-- name: live_of_app
-- The builds an app counts that are not deleted, newest first.
SELECT b.*, n.number FROM app_build_numbers n JOIN builds b ON b.build_key = n.build_key
WHERE n.app_id = :app_id AND b.deleted_at IS NULL ORDER BY n.number DESC LIMIT 10000
