-- name: insert_static
-- What an app wants in a region.
INSERT INTO static_allocations (app_id, region, min_processes, target_processes, max_processes,
                                requests_per_process)
VALUES (:app_id, :region, :min_processes, :target_processes, :max_processes, :requests_per_process)

-- name: delete_static
-- An app wants nothing any more, or something else.
DELETE FROM static_allocations WHERE app_id = :app_id

-- name: static_of_app
-- What an app wants, region by region.
SELECT region, min_processes, target_processes, max_processes, requests_per_process
FROM static_allocations WHERE app_id = :app_id ORDER BY region

-- name: wishful_regions
-- Where an app wants processes whether rooms ask for them or not.
SELECT region FROM static_allocations WHERE app_id = :app_id
UNION SELECT region FROM warm_pools WHERE app_id = :app_id

-- name: pools_of_app
-- What an app keeps in reserve, region by region.
SELECT region, processes FROM warm_pools WHERE app_id = :app_id ORDER BY region

-- name: insert_pool
-- What an app keeps in reserve in a region.
INSERT INTO warm_pools (app_id, region, processes) VALUES (:app_id, :region, :processes)
ON CONFLICT (app_id, region) DO UPDATE SET processes = excluded.processes

-- name: delete_pools
-- An app keeps nothing in reserve any more.
DELETE FROM warm_pools WHERE app_id = :app_id

-- name: delete_holds
-- What an app could not get is forgotten: it wants something else now.
DELETE FROM allocation_holds WHERE app_id = :app_id

-- name: wanted
-- What an app wants in a region beside its rooms, and whether its latest deployment can still be started.
SELECT a.deleted_at, a.latest_deployment_id, b.deleted_at AS build_deleted_at, b.expired_at AS build_expired_at,
       s.min_processes, s.target_processes, s.max_processes, s.requests_per_process, w.processes AS reserve,
       h.deployment_id AS held_deployment_id, h.reason AS held_reason, h.until AS held_until,
       CASE WHEN EXISTS (SELECT 1 FROM waiting_rooms WHERE machine_full = 1)
              OR EXISTS (SELECT 1 FROM capacity_shortage WHERE at > :short_since) THEN 1 ELSE 0 END AS rooms_wait
FROM apps a
LEFT JOIN static_allocations s ON s.app_id = a.app_id AND s.region = :region
LEFT JOIN warm_pools w ON w.app_id = a.app_id AND w.region = :region
LEFT JOIN allocation_holds h ON h.app_id = a.app_id AND h.region = :region
LEFT JOIN deployments d ON d.deployment_id = a.latest_deployment_id
LEFT JOIN builds b ON b.build_key = d.build_key
WHERE a.app_id = :app_id

-- name: quick_ends
-- When young processes of a deployment ended in a region although nobody asked for it.
SELECT terminated_at FROM processes
WHERE app_id = :app_id AND created_at > :since AND region = :region AND deployment_id = :deployment_id
  AND stop_reason IS NULL AND terminated_at IS NOT NULL AND terminated_at - created_at < :young
ORDER BY created_at DESC LIMIT 10

-- name: counts
-- How many processes of an app live in a region; "fresh" ones are a deployment's that take rooms.
SELECT COUNT(*) AS live, COALESCE(SUM(CASE WHEN started_at IS NOT NULL THEN 1 ELSE 0 END), 0) AS ready,
       COALESCE(SUM(CASE WHEN deployment_id = :deployment_id AND draining = 0 THEN 1 ELSE 0 END), 0) AS fresh,
       COALESCE(SUM(CASE WHEN deployment_id = :deployment_id AND draining = 0 AND rooms_allocated > 0
                         THEN 1 ELSE 0 END), 0) AS with_rooms
FROM processes
WHERE app_id = :app_id AND region = :region AND removed = 0 AND stopping_at IS NULL AND terminated_at IS NULL

-- name: max_and_live
-- Where an app wants no more than some processes in a region: how many, and how many live.
SELECT s.max_processes,
       (SELECT COUNT(*) FROM processes p
        WHERE p.app_id = s.app_id AND p.region = s.region AND p.removed = 0
          AND p.stopping_at IS NULL AND p.terminated_at IS NULL) AS live
FROM static_allocations s WHERE s.app_id = :app_id AND s.region = :region

-- name: before_new
-- What stands between a room and a new process: rooms before it in line, max, and one that drains and could
-- take rooms again in place of a new one.
SELECT (SELECT COUNT(*) FROM waiting_rooms w
        WHERE w.app_id = a.app_id AND w.region = :region AND w.number < :number) AS ahead,
       (SELECT COUNT(*) FROM processes d
        WHERE d.deployment_id = :deployment_id AND d.region = :region AND d.draining = 1 AND d.removed = 0
          AND d.drain_reason = :reason AND d.stopping_at IS NULL AND d.terminated_at IS NULL
          AND d.rooms_allocated < d.rooms_per_process) AS reopenable,
       s.max_processes,
       CASE WHEN s.max_processes IS NULL THEN 0 ELSE
           (SELECT COUNT(*) FROM processes p
            WHERE p.app_id = a.app_id AND p.region = :region AND p.removed = 0
              AND p.stopping_at IS NULL AND p.terminated_at IS NULL) END AS live
FROM apps a LEFT JOIN static_allocations s ON s.app_id = a.app_id AND s.region = :region
WHERE a.app_id = :app_id

-- name: hold
-- Why a wanted process could not be made, and when it is tried again.
INSERT INTO allocation_holds (app_id, region, deployment_id, reason, tries, until)
VALUES (:app_id, :region, :deployment_id, :reason, :tries, :until)
ON CONFLICT (app_id, region) DO UPDATE SET deployment_id = excluded.deployment_id, reason = excluded.reason,
    tries = excluded.tries, until = excluded.until

-- name: held
-- Why a wanted process could not be made the last time.
SELECT deployment_id, reason, tries, until FROM allocation_holds WHERE app_id = :app_id AND region = :region

-- name: release
-- It could be made.
DELETE FROM allocation_holds WHERE app_id = :app_id AND region = :region

-- name: retry_holds
-- Something was given back: whoever could not make a process may try at once.
UPDATE allocation_holds SET until = :now WHERE until > :now

-- name: any_pool
-- Whether anybody keeps processes in reserve.
SELECT 1 AS kept FROM warm_pools LIMIT 1

-- name: note_shortage
-- Somebody was refused for this machine's capacity.
INSERT INTO capacity_shortage (one, at) VALUES (1, :at) ON CONFLICT (one) DO UPDATE SET at = excluded.at
