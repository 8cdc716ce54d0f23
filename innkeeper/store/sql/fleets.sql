-- name: insert
-- A new fleet.
INSERT INTO fleets (fleet_id, org_id, name, node_shape_id, scale_up_threshold, created_at)
VALUES (:fleet_id, :org_id, :name, :node_shape_id, :scale_up_threshold, :created_at)

-- name: by_id
-- One of an org's fleets.
SELECT * FROM fleets WHERE fleet_id = :fleet_id AND org_id = :org_id

-- name: by_name
-- Which of an org's fleets has this name.
SELECT * FROM fleets WHERE org_id = :org_id AND name = :name

-- name: of_org
-- An org's fleets, oldest first.
SELECT * FROM fleets WHERE org_id = :org_id ORDER BY created_at, fleet_id LIMIT 1000

-- name: count
-- How many fleets an org has.
SELECT COUNT(*) AS count FROM fleets WHERE org_id = :org_id

-- name: change
-- A fleet's settings.
UPDATE fleets SET name = :name, node_shape_id = :node_shape_id, scale_up_threshold = :scale_up_threshold
WHERE fleet_id = :fleet_id

-- name: default_of
-- The fleet of deployments that name none.
SELECT default_fleet_id FROM orgs WHERE org_id = :org_id

-- name: set_default
-- Deployments of the org go to this fleet from now on, unless they name one.
UPDATE orgs SET default_fleet_id = :fleet_id WHERE org_id = :org_id

-- name: region
-- What was asked of a fleet in a region.
SELECT * FROM fleet_regions WHERE fleet_id = :fleet_id AND region = :region

-- name: put_region
-- How many nodes the fleet shall have there at the least.
INSERT INTO fleet_regions (fleet_id, region, node_baseline, updated_at)
VALUES (:fleet_id, :region, :node_baseline, :updated_at)
ON CONFLICT (fleet_id, region) DO UPDATE SET node_baseline = :node_baseline, updated_at = :updated_at

-- name: node
-- This machine, and since when it serves.
SELECT m.node_id, m.cores, m.total_memory_mb, i.created_at FROM machine m JOIN installation i ON i.one = 1

-- name: requested_now
-- What runs or shall run has requested, by fleet and region: the most first.
SELECT fleet_id, region, SUM(cpu_millis) AS cpu_millis FROM processes
WHERE removed = 0 AND terminated_at IS NULL AND fleet_id IS NOT NULL
GROUP BY fleet_id, region ORDER BY SUM(cpu_millis) DESC, region LIMIT 256

-- name: keep_machine_sample
-- What the machine had, and took for itself, in a minute.
INSERT INTO machine_samples (at, provisioned_millis, overhead_millis)
VALUES (:at, :provisioned_millis, :overhead_millis)
ON CONFLICT (at) DO UPDATE SET provisioned_millis = :provisioned_millis, overhead_millis = :overhead_millis

-- name: keep_sample
-- What a fleet's processes in a region requested in a minute.
INSERT INTO fleet_samples (at, fleet_id, region, utilized_millis)
VALUES (:at, :fleet_id, :region, :utilized_millis)
ON CONFLICT (fleet_id, at, region) DO UPDATE SET utilized_millis = :utilized_millis

-- name: samples
-- A fleet's minutes, oldest first: of one region, or of all; a fleet that ran nothing used nothing.
SELECT m.at, m.provisioned_millis, m.overhead_millis,
       (SELECT COALESCE(SUM(s.utilized_millis), 0) FROM fleet_samples s
        WHERE s.fleet_id = :fleet_id AND s.at = m.at
          AND (CAST(:region AS TEXT) IS NULL OR s.region = :region)) AS utilized_millis
FROM machine_samples m WHERE m.at > :since AND m.at <= :until ORDER BY m.at LIMIT 20000

-- name: forget_machine_samples
-- Drop a share of what is past its time.
DELETE FROM machine_samples WHERE at IN (SELECT at FROM machine_samples WHERE at < :before ORDER BY at LIMIT :share)

-- name: forget_samples
-- Drop the minutes that are past their time, some at once.
DELETE FROM fleet_samples WHERE at < :before AND at IN (
    SELECT at FROM fleet_samples WHERE at < :before ORDER BY at LIMIT :share)
