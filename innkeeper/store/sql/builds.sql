-- name: by_id
-- One org's build by the name it goes by, deleted or not.
SELECT * FROM builds WHERE org_id = :org_id AND build_id = :build_id

-- name: by_key
-- One build by our own key, deleted or not.
SELECT * FROM builds WHERE build_key = :build_key

-- name: live_of_org
-- An org's builds that are not deleted, newest first.
SELECT * FROM builds WHERE org_id = :org_id AND deleted_at IS NULL
ORDER BY created_at DESC, build_key DESC LIMIT 10000

-- name: latest_of_org
-- The builds of the latest deployments of an org's apps, deleted or not.
SELECT DISTINCT builds.* FROM apps
JOIN deployments ON deployments.deployment_id = apps.latest_deployment_id
JOIN builds ON builds.build_key = deployments.build_key
WHERE apps.org_id = :org_id AND apps.deleted_at IS NULL LIMIT 10000

-- name: insert
-- A new build; nothing has been sent for it yet.
INSERT INTO builds (build_key, build_id, org_id, build_tag, kind, status, upload_size, created_at, created_by)
VALUES (:build_key, :build_id, :org_id, :build_tag, :kind, 'created', :upload_size, :created_at, :created_by)

-- name: mark_uploaded
-- Its archive is complete.
UPDATE builds SET uploaded = 1, content_hash = :content_hash
WHERE build_key = :build_key AND status = 'created' AND deleted_at IS NULL

-- name: mark_received
-- Its archive came in one piece, of a size that nobody had told before.
UPDATE builds SET uploaded = 1, content_hash = :content_hash, upload_size = :upload_size
WHERE build_key = :build_key AND status = 'created' AND deleted_at IS NULL

-- name: mark_running
-- It runs, once and for all.
UPDATE builds SET status = 'running', started_at = :started_at
WHERE build_key = :build_key AND status = 'created' AND deleted_at IS NULL

-- name: mark_succeeded
-- Its image is in the runtime.
UPDATE builds SET status = 'succeeded', image_ref = :image_ref, image_size = :image_size,
                  finished_at = :finished_at
WHERE build_key = :build_key AND status = 'running'

-- name: mark_failed
-- It ended without an image.
UPDATE builds SET status = 'failed', finished_at = :finished_at
WHERE build_key = :build_key AND status = 'running'

-- name: mark_deleted
-- The row stays: its id is not given out again, and deployments still name it.
UPDATE builds SET deleted_at = :deleted_at WHERE build_key = :build_key

-- name: running
-- Builds that are said to run, oldest first.
SELECT * FROM builds WHERE status = 'running' ORDER BY started_at, build_key LIMIT 10000

-- name: images_to_remove
-- Deleted builds whose image still takes disk space, and which no process uses any more.
SELECT * FROM builds
WHERE deleted_at IS NOT NULL AND image_ref IS NOT NULL
  AND NOT EXISTS (
    SELECT 1 FROM deployments
    JOIN processes ON processes.app_id = deployments.app_id
                  AND processes.deployment_id = deployments.deployment_id
    WHERE deployments.build_key = builds.build_key AND processes.removed = 0)
LIMIT 1000

-- name: kept_images
-- What deployments may start from: a backup holds these. Its columns are those of the first schema.
SELECT build_key, image_ref FROM builds
WHERE image_ref IS NOT NULL AND deleted_at IS NULL ORDER BY build_key

-- name: forget_image
-- The image is gone.
UPDATE builds SET image_ref = NULL WHERE build_key = :build_key AND deleted_at IS NOT NULL

-- name: awaiting_run
-- Builds whose parts or archive are still wanted.
SELECT build_key FROM builds
WHERE status IN ('created', 'running') AND deleted_at IS NULL AND created_at > :created_after LIMIT 100000

-- name: kept_logs
-- Builds whose log is still readable.
SELECT build_key FROM builds WHERE status <> 'created' AND deleted_at IS NULL LIMIT 100000
