-- name: measure
-- What all running processes of each autoscaled region have together; NULL where one is not known.
INSERT INTO measured_loads (app_id, region, at, requests)
SELECT s.app_id, s.region, CAST(:now AS BIGINT),
       CASE WHEN COUNT(p.process_id) = COUNT(CASE
                WHEN u.measured_at >= :fresh THEN u.connections
                WHEN u.process_id IS NULL AND p.started_at >= :fresh THEN 0 END)
            THEN COALESCE(SUM(u.connections), 0) END
FROM static_allocations s
LEFT JOIN processes p ON p.app_id = s.app_id AND p.region = s.region AND p.removed = 0
     AND p.started_at IS NOT NULL AND p.stopping_at IS NULL AND p.terminated_at IS NULL
LEFT JOIN process_usage u ON u.process_id = p.process_id
WHERE s.requests_per_process IS NOT NULL
GROUP BY s.app_id, s.region
ON CONFLICT (app_id, region, at) DO NOTHING

-- name: forget
-- What nobody asks for any more.
DELETE FROM measured_loads WHERE at < :before

-- name: loads
-- What was measured lately in a region, oldest first.
SELECT at, requests FROM measured_loads
WHERE app_id = :app_id AND region = :region AND at > :since ORDER BY at LIMIT 1000

-- name: set_target
-- What the autoscaler wants, where it may.
UPDATE static_allocations SET target_processes = :target
WHERE app_id = :app_id AND region = :region AND requests_per_process IS NOT NULL
  AND target_processes <> :target AND min_processes <= :target AND max_processes >= :target

-- name: targets_of_org
-- What the autoscaler wants in each of an org's autoscaled regions.
SELECT s.app_id, s.region, s.target_processes
FROM static_allocations s JOIN apps a ON a.app_id = s.app_id
WHERE a.org_id = :org_id AND s.requests_per_process IS NOT NULL
