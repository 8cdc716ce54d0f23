-- name: made_so_far
-- As on SQLite; the next number is nobody else's until this commits.
SELECT deployments_made FROM apps WHERE app_id = :app_id FOR UPDATE
