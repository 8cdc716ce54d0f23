-- name: take_slot
-- Give a room a slot on an open process: running before starting, fullest first, oldest first (core.placement).
-- None while rooms wait in that app and region that were there before it.
UPDATE processes SET rooms_allocated = rooms_allocated + 1, idle_since = NULL, emptied_at = NULL
WHERE process_id = (
    SELECT process_id FROM processes
    WHERE deployment_id = :deployment_id AND region = :region
      AND accepting = 1 AND rooms_allocated < rooms_per_process
      AND NOT EXISTS (SELECT 1 FROM waiting_rooms
                      WHERE app_id = :app_id AND region = :region AND number < :number)
    ORDER BY (started_at IS NULL), rooms_allocated DESC, created_at LIMIT 1)
RETURNING process_id, started_at, exposed_ports

-- name: free_slot
-- Give a slot back; the idle clock starts anew.
UPDATE processes SET rooms_allocated = rooms_allocated - 1, idle_since = NULL,
                     emptied_at = CASE WHEN rooms_allocated = 1 THEN CAST(:now AS BIGINT) END
WHERE process_id = :process_id AND rooms_allocated > 0

-- name: insert
-- A new process: recorded, readable, not yet handed to the runtime.
INSERT INTO processes (process_id, app_id, org_id, deployment_id, deployment_number, region, rooms_per_process,
                       rooms_allocated, cpu_millis, memory_mb, created_at, exposed_ports, sandbox_id,
                       initial_room_id, fleet_id, hosting, made_for)
VALUES (:process_id, :app_id, :org_id, :deployment_id, :deployment_number, :region, :rooms_per_process,
        :rooms_allocated, :cpu_millis, :memory_mb, :created_at, :exposed_ports, :sandbox_id, :initial_room_id,
        :fleet_id, :hosting, :made_for)

-- name: by_id
-- One process of an app.
SELECT process_id, app_id, org_id, deployment_id, deployment_number, region, rooms_per_process,
       rooms_allocated, cpu_millis, memory_mb, created_at, scheduled_at, attempted_at, booted_at,
       started_at, stopping_at, term_sent_at, kill_sent_at, terminated_at, draining, failed, stop_reason,
       stop_grace_s, summary_exit_reason, exposed_ports, sandbox_id, initial_room_id, idle_since, removed, fleet_id,
       hosting, drain_reason, drained_at, emptied_at, made_for
FROM processes WHERE process_id = :process_id AND app_id = :app_id

-- name: any_by_id
-- One process, whoever's it is: for the reconciler.
SELECT process_id, app_id, org_id, deployment_id, deployment_number, region, rooms_per_process,
       rooms_allocated, cpu_millis, memory_mb, created_at, scheduled_at, attempted_at, booted_at,
       started_at, stopping_at, term_sent_at, kill_sent_at, terminated_at, draining, failed, stop_reason,
       stop_grace_s, summary_exit_reason, exposed_ports, sandbox_id, initial_room_id, idle_since, removed, fleet_id,
       hosting, drain_reason, drained_at, emptied_at, made_for
FROM processes WHERE process_id = :process_id

-- name: unfinished
-- Every process of an app in a region that a pass still has to look at.
SELECT process_id, app_id, org_id, deployment_id, deployment_number, region, rooms_per_process,
       rooms_allocated, cpu_millis, memory_mb, created_at, scheduled_at, attempted_at, booted_at,
       started_at, stopping_at, term_sent_at, kill_sent_at, terminated_at, draining, failed, stop_reason,
       stop_grace_s, summary_exit_reason, exposed_ports, sandbox_id, initial_room_id, idle_since, removed, fleet_id,
       hosting, drain_reason, drained_at, emptied_at, made_for
FROM processes WHERE app_id = :app_id AND region = :region AND removed = 0
ORDER BY created_at, process_id

-- name: unfinished_keys
-- The app and region pairs that have work left or processes alive, want some, or have rooms that wait.
SELECT app_id, region FROM processes WHERE removed = 0
UNION SELECT app_id, region FROM static_allocations WHERE target_processes > 0
UNION SELECT app_id, region FROM warm_pools
UNION SELECT app_id, region FROM waiting_rooms

-- name: unfinished_regions_of_app
-- The regions in which an app still has processes.
SELECT DISTINCT region FROM processes WHERE app_id = :app_id AND removed = 0

-- name: unfinished_ids
-- The ids of all processes whose remains the runtime may still hold.
SELECT process_id FROM processes WHERE removed = 0

-- name: live_ids
-- The ids of all processes that are not terminated.
SELECT process_id FROM processes WHERE removed = 0 AND terminated_at IS NULL

-- name: latest
-- The newest ten that match; statuses and regions are ",a,b," or NULL for all.
SELECT process_id, app_id, org_id, deployment_id, deployment_number, region, rooms_per_process,
       rooms_allocated, cpu_millis, memory_mb, created_at, scheduled_at, attempted_at, booted_at,
       started_at, stopping_at, term_sent_at, kill_sent_at, terminated_at, draining, failed, stop_reason,
       stop_grace_s, summary_exit_reason, exposed_ports, sandbox_id, initial_room_id, idle_since, removed, fleet_id,
       hosting, drain_reason, drained_at, emptied_at, made_for
FROM processes WHERE app_id = :app_id
  AND (CAST(:before AS BIGINT) IS NULL OR created_at < :before)
  AND (CAST(:regions AS TEXT) IS NULL OR :regions LIKE '%,' || region || ',%')
  AND (CAST(:statuses AS TEXT) IS NULL OR :statuses LIKE '%,' ||
       CASE WHEN terminated_at IS NOT NULL THEN CASE WHEN failed = 1 THEN 'failed' ELSE 'stopped' END
       WHEN stopping_at IS NOT NULL THEN 'stopping'
       WHEN started_at IS NOT NULL THEN CASE WHEN draining = 1 THEN 'draining' ELSE 'running' END
       ELSE 'starting' END || ',%')
ORDER BY created_at DESC, process_id LIMIT 10

-- name: running_latest
-- The ten processes of an app that started last of those not terminated, in one region or in all.
SELECT process_id, app_id, org_id, deployment_id, deployment_number, region, rooms_per_process,
       rooms_allocated, cpu_millis, memory_mb, created_at, scheduled_at, attempted_at, booted_at,
       started_at, stopping_at, term_sent_at, kill_sent_at, terminated_at, draining, failed, stop_reason,
       stop_grace_s, summary_exit_reason, exposed_ports, sandbox_id, initial_room_id, idle_since, removed, fleet_id,
       hosting, drain_reason, drained_at, emptied_at, made_for
FROM processes
WHERE app_id = :app_id AND removed = 0 AND terminated_at IS NULL
  AND (CAST(:region AS TEXT) IS NULL OR region = :region)
ORDER BY COALESCE(started_at, created_at) DESC, process_id LIMIT 10

-- name: stopped_latest
-- The ten processes of an app that ended last, in one region or in all.
SELECT process_id, app_id, org_id, deployment_id, deployment_number, region, rooms_per_process,
       rooms_allocated, cpu_millis, memory_mb, created_at, scheduled_at, attempted_at, booted_at,
       started_at, stopping_at, term_sent_at, kill_sent_at, terminated_at, draining, failed, stop_reason,
       stop_grace_s, summary_exit_reason, exposed_ports, sandbox_id, initial_room_id, idle_since, removed, fleet_id,
       hosting, drain_reason, drained_at, emptied_at, made_for
FROM processes
WHERE app_id = :app_id AND terminated_at IS NOT NULL
  AND (CAST(:region AS TEXT) IS NULL OR region = :region)
ORDER BY terminated_at DESC, process_id LIMIT 10

-- name: rooms_changed_at
-- When a room was last allocated to a process, or taken off it.
SELECT MAX(changed_at) AS changed_at FROM (
    SELECT MAX(scheduled_at) AS changed_at FROM rooms WHERE process_id = :process_id
    UNION ALL
    SELECT MAX(unscheduled_at) FROM past_allocations WHERE process_id = :process_id) AS changes

-- name: count
-- How many match; without statuses, those not terminated.
SELECT COUNT(*) AS count FROM processes WHERE app_id = :app_id
  AND (CAST(:before AS BIGINT) IS NULL OR created_at < :before)
  AND (CAST(:regions AS TEXT) IS NULL OR :regions LIKE '%,' || region || ',%')
  AND CASE WHEN CAST(:statuses AS TEXT) IS NULL THEN terminated_at IS NULL ELSE :statuses LIKE '%,' ||
       CASE WHEN terminated_at IS NOT NULL THEN CASE WHEN failed = 1 THEN 'failed' ELSE 'stopped' END
       WHEN stopping_at IS NOT NULL THEN 'stopping'
       WHEN started_at IS NOT NULL THEN CASE WHEN draining = 1 THEN 'draining' ELSE 'running' END
       ELSE 'starting' END || ',%' END

-- name: vcpus_of_org
-- Thousandths of a core requested by the org's processes that are not terminated.
SELECT COALESCE(SUM(cpu_millis), 0) AS cpu_millis FROM processes
WHERE org_id = :org_id AND removed = 0 AND terminated_at IS NULL

-- name: mark_attempted
-- Record the intent to start before the runtime hears of it.
UPDATE processes SET scheduled_at = COALESCE(scheduled_at, CASE WHEN :now > created_at THEN :now ELSE created_at END),
                     attempted_at = :now
WHERE process_id = :process_id AND booted_at IS NULL AND terminated_at IS NULL AND stopping_at IS NULL

-- name: mark_booted
-- The runtime shows it started.
UPDATE processes SET booted_at = CASE WHEN :at > scheduled_at THEN :at ELSE scheduled_at END
WHERE process_id = :process_id AND booted_at IS NULL AND terminated_at IS NULL

-- name: mark_started
-- Its ports are bound.
UPDATE processes SET started_at = CASE WHEN :at > booted_at THEN :at ELSE booted_at END, idle_since = NULL
WHERE process_id = :process_id AND started_at IS NULL AND booted_at IS NOT NULL
  AND stopping_at IS NULL AND terminated_at IS NULL

-- name: mark_stopping
-- It shall stop: no more rooms.
UPDATE processes SET stopping_at = :now, stop_reason = :reason, stop_grace_s = :grace_s, accepting = 0,
                     rooms_allocated = 0
WHERE process_id = :process_id AND stopping_at IS NULL AND terminated_at IS NULL

-- name: mark_draining
-- It takes no new rooms; one that drains already does so for this reason from now on.
UPDATE processes SET draining = 1, accepting = 0, drain_reason = :reason, drained_at = COALESCE(drained_at, :now)
WHERE process_id = :process_id AND stopping_at IS NULL AND terminated_at IS NULL
  AND (draining = 0 OR drain_reason <> :reason)

-- name: reopen
-- Let the oldest of a deployment's processes that drain for this reason take rooms again; ready ones first.
UPDATE processes SET draining = 0, accepting = 1, drain_reason = NULL, drained_at = NULL, made_for = :made_for
WHERE process_id = (
    SELECT process_id FROM processes
    WHERE app_id = :app_id AND region = :region AND removed = 0 AND deployment_id = :deployment_id
      AND draining = 1 AND drain_reason = :reason AND stopping_at IS NULL AND terminated_at IS NULL
      AND rooms_allocated < rooms_per_process + :or_full
    ORDER BY (started_at IS NULL), created_at, process_id LIMIT 1)
RETURNING process_id

-- name: mark_idle
-- Since when it has had neither rooms nor connections; not where a room came, or its end began, since the look.
UPDATE processes SET idle_since = CAST(:since AS BIGINT)
WHERE process_id = :process_id AND stopping_at IS NULL AND terminated_at IS NULL
  AND (CAST(:since AS BIGINT) IS NULL OR rooms_allocated = 0)

-- name: mark_term_sent
-- The runtime took the SIGTERM.
UPDATE processes SET term_sent_at = :now
WHERE process_id = :process_id AND term_sent_at IS NULL AND terminated_at IS NULL

-- name: mark_kill_sent
-- The runtime took the latest SIGKILL.
UPDATE processes SET kill_sent_at = :now WHERE process_id = :process_id AND terminated_at IS NULL

-- name: mark_terminated
-- The end, set once.
UPDATE processes SET terminated_at = :at, stopping_at = COALESCE(stopping_at, :at), failed = :failed,
                     summary_exit_reason = :reason, accepting = 0, rooms_allocated = 0
WHERE process_id = :process_id AND terminated_at IS NULL

-- name: mark_removed
-- The runtime holds nothing of it any more.
UPDATE processes SET removed = 1 WHERE process_id = :process_id AND removed = 0 AND terminated_at IS NOT NULL

-- name: replace_ports
-- Give a process that has not booted other host ports: something else on the host held one.
UPDATE processes SET exposed_ports = :exposed_ports, sandbox_id = NULL, attempted_at = NULL
WHERE process_id = :process_id AND booted_at IS NULL AND terminated_at IS NULL

-- name: start_failed
-- One more process of the deployment that never bound its port.
INSERT INTO deployment_starts (deployment_id, start_failures, last_start_failure_at, last_used_at)
VALUES (:deployment_id, 1, :now, :now)
ON CONFLICT (deployment_id) DO UPDATE SET start_failures = deployment_starts.start_failures + 1,
    last_start_failure_at = :now

-- name: start_succeeded
-- A process of the deployment bound its port: the back-off is over.
INSERT INTO deployment_starts (deployment_id, start_failures, last_start_failure_at, last_used_at)
VALUES (:deployment_id, 0, NULL, :now)
ON CONFLICT (deployment_id) DO UPDATE SET start_failures = 0, last_start_failure_at = NULL, last_used_at = :now

-- name: facts
-- What decide needs to know of the deployments of an app: of those that live, and of the latest.
SELECT d.deployment_id, d.ports, d.idle_timeout_enabled, COALESCE(s.start_failures, 0) AS start_failures,
       s.last_start_failure_at
FROM deployments d LEFT JOIN deployment_starts s ON s.deployment_id = d.deployment_id
WHERE d.deployment_id IN (SELECT deployment_id FROM processes
                          WHERE app_id = :app_id AND region = :region AND removed = 0
                          UNION SELECT latest_deployment_id FROM apps WHERE app_id = :app_id)

-- name: spec
-- Everything the runtime must be told to start a process.
SELECT p.process_id, p.app_id, p.deployment_id, p.region, p.cpu_millis, p.memory_mb, p.rooms_per_process,
       p.exposed_ports, p.sandbox_id, p.initial_room_id, d.ports, d.env, b.build_tag, b.image_ref, b.build_id,
       b.deleted_at AS build_deleted_at, a.app_secret, r.room_config AS initial_room_config
FROM processes p
JOIN deployments d ON d.deployment_id = p.deployment_id
JOIN builds b ON b.build_key = d.build_key
JOIN apps a ON a.app_id = p.app_id
LEFT JOIN rooms r ON r.room_id = p.initial_room_id
WHERE p.process_id = :process_id

-- name: image
-- Whether a build can still be started.
SELECT deleted_at, expired_at FROM builds WHERE build_key = :build_key

-- name: key_of
-- Which pass looks at a process.
SELECT app_id, region FROM processes WHERE process_id = :process_id
