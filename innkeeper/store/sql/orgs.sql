-- name: by_id
-- One organization.
SELECT * FROM orgs WHERE org_id = :org_id

-- name: first
-- The organization that the first start made.
SELECT * FROM orgs WHERE operator = 1

-- name: insert
-- A new organization; limits that are NULL are not set.
INSERT INTO orgs (org_id, name, max_requested_memory_mb, log_retention_hours, concurrent_vcpus_limit, created_at)
VALUES (:org_id, :name, :max_requested_memory_mb, NULL, NULL, :created_at)

-- name: make_operators
-- This one is the installation's own: it sees and changes users.
UPDATE orgs SET operator = 1 WHERE org_id = :org_id

-- name: set_memory_max
-- What one process may ask for at the most.
UPDATE orgs SET max_requested_memory_mb = :max_requested_memory_mb WHERE org_id = :org_id

-- name: count
-- How many organizations there are.
SELECT COUNT(*) AS count FROM orgs
