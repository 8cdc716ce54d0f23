-- name: of_process
-- What tells whether a process's log is still there: its end, and how long its org keeps logs.
SELECT p.process_id, p.terminated_at, p.removed, o.log_retention_hours
FROM processes p JOIN orgs o ON o.org_id = p.org_id
WHERE p.process_id = :process_id AND p.app_id = :app_id

-- name: of_app
-- The processes of an app, or of one deployment, that may have a log: the live ones first, then the newest.
SELECT p.process_id, p.terminated_at, p.removed, o.log_retention_hours
FROM processes p JOIN orgs o ON o.org_id = p.org_id
WHERE p.app_id = :app_id AND (CAST(:deployment_id AS TEXT) IS NULL OR p.deployment_id = :deployment_id)
ORDER BY (p.terminated_at IS NOT NULL), p.created_at DESC, p.process_id LIMIT :most

-- name: retention
-- How long the org of a process keeps logs, where that is its own setting.
SELECT o.log_retention_hours FROM processes p JOIN orgs o ON o.org_id = p.org_id
WHERE p.process_id = :process_id AND o.log_retention_hours IS NOT NULL

-- name: set_retention
-- How long an org keeps the logs of its processes; NULL leaves it to the installation.
UPDATE orgs SET log_retention_hours = :hours WHERE org_id = :org_id
