-- name: by_id
-- One deployment of an app, by its V3 id.
SELECT d.*, n.number AS build_number FROM deployments d
JOIN app_build_numbers n ON n.app_id = d.app_id AND n.build_key = d.build_key
WHERE d.deployment_id = :deployment_id AND d.app_id = :app_id

-- name: by_number
-- One deployment of an app, by the number that V1 and V2 show.
SELECT d.*, n.number AS build_number FROM deployments d
JOIN app_build_numbers n ON n.app_id = d.app_id AND n.build_key = d.build_key
WHERE d.app_id = :app_id AND d.number = :number

-- name: of_app
-- An app's deployments, newest first; a tag that is NULL filters nothing.
SELECT d.*, n.number AS build_number FROM deployments d
JOIN app_build_numbers n ON n.app_id = d.app_id AND n.build_key = d.build_key
WHERE d.app_id = :app_id AND d.number < :below
  AND (CAST(:deployment_tag AS TEXT) IS NULL OR d.deployment_tag = :deployment_tag)
  AND (CAST(:build_tag AS TEXT) IS NULL OR d.build_tag = :build_tag)
ORDER BY d.number DESC LIMIT :count

-- name: latest_of_org
-- The latest deployment of each of an org's apps that are not deleted.
SELECT d.*, n.number AS build_number FROM apps
JOIN deployments d ON d.deployment_id = apps.latest_deployment_id
JOIN app_build_numbers n ON n.app_id = d.app_id AND n.build_key = d.build_key
WHERE apps.org_id = :org_id AND apps.deleted_at IS NULL LIMIT 10000

-- name: made_so_far
-- How many deployments an app has had: the next one's number is one more.
SELECT deployments_made FROM apps WHERE app_id = :app_id

-- name: insert
-- A new deployment; it never changes.
INSERT INTO deployments (deployment_id, app_id, number, build_key, build_id, build_tag, deployment_tag,
                         created_at, created_by, cpu_millis, memory_mb, gpu, rooms_per_process, ports,
                         env, idle_timeout_enabled, fleet_id)
VALUES (:deployment_id, :app_id, :number, :build_key, :build_id, :build_tag, :deployment_tag,
        :created_at, :created_by, :cpu_millis, :memory_mb, :gpu, :rooms_per_process, :ports,
        :env, :idle_timeout_enabled, :fleet_id)

-- name: make_latest
-- New rooms and processes use this one from now on.
UPDATE apps SET latest_deployment_id = :deployment_id, deployments_made = :number WHERE app_id = :app_id
