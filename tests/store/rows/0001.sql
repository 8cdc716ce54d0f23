-- A small studio in play: a room on a running process, one whose process ended, one that is suspended.
INSERT INTO installation (one, installation_id, url_secret, created_at)
VALUES (1, 'aaaaaaaa-0000-4000-8000-000000000001', 'a-secret', 1000);
INSERT INTO machine (node_id, cpu_millis, memory_mb, cpu_millis_promised, memory_mb_promised)
VALUES ('node-1', 16000, 8192, 500, 528);
INSERT INTO orgs (org_id, name, max_requested_memory_mb, log_retention_hours, concurrent_vcpus_limit, created_at)
VALUES ('org-1', 'Studio', 8192, 24, 100.5, 1000), ('org-2', 'Other', 8192, NULL, NULL, 2000);
INSERT INTO org_tokens (org_token_id, org_id, name, token_hash, last_four, scopes, status, created_by, created_at)
VALUES ('org-token-1', 'org-1', 'ci', 'hash-1', 'beef', '["rooms:rooms:create"]', 'active', 'innkeeper', 1000),
       ('org-token-2', 'org-1', 'old', 'hash-2', 'cafe', NULL, 'revoked', 'innkeeper', 1000);
INSERT INTO apps (app_id, org_id, app_name, app_secret, auth_configuration, service_config, created_at,
                  created_by, latest_deployment_id, deployments_made)
VALUES ('app-1', 'org-1', 'arena', 'secret', '{"anonymous": {}}', NULL, 1000, 'org-token-1', 'dep-1', 1);
INSERT INTO builds (build_key, build_id, org_id, build_tag, kind, status, upload_size, uploaded, image_size,
                    image_ref, content_hash, created_at, created_by, started_at, finished_at)
VALUES ('bbbbbbbb-0000-4000-8000-000000000001', 'bld-1', 'org-1', 'v1', 'upload', 'succeeded', 10, 1, 20,
        'bbbbbbbb-0000-4000-8000-000000000001', 'ff', 1000, 'org-token-1', 1100, 1200);
INSERT INTO deployments (deployment_id, app_id, number, build_key, build_id, created_at, created_by, cpu_millis,
                         memory_mb, gpu, rooms_per_process, ports, env, idle_timeout_enabled)
VALUES ('dep-1', 'app-1', 1, 'bbbbbbbb-0000-4000-8000-000000000001', 'bld-1', 1300, 'org-token-1', 500, 512, 0, 2,
        '[{"name": "default", "port": 7777, "transport_type": "udp"}]',
        '[{"name": "WORD", "value": "é"}]', 1);
INSERT INTO deployment_starts (deployment_id, start_failures, last_used_at) VALUES ('dep-1', 1, 1400);
INSERT INTO processes (process_id, app_id, org_id, deployment_id, region, rooms_per_process, rooms_allocated,
                       cpu_millis, memory_mb, created_at, scheduled_at, attempted_at, booted_at, started_at,
                       exposed_ports, initial_room_id)
VALUES ('cccccccc-0000-4000-8000-000000000001', 'app-1', 'org-1', 'dep-1', 'Tokyo', 2, 1, 500, 512,
        1400, 1400, 1401, 1500, 1600,
        '[{"name": "default", "host": "play.test", "port": 20000, "transport_type": "udp"}]', 'room-1');
INSERT INTO processes (process_id, app_id, org_id, deployment_id, region, rooms_per_process, accepting, cpu_millis,
                       memory_mb, created_at, scheduled_at, attempted_at, booted_at, started_at, stopping_at,
                       term_sent_at, terminated_at, stop_reason, summary_exit_reason, exposed_ports, removed)
VALUES ('cccccccc-0000-4000-8000-000000000002', 'app-1', 'org-1', 'dep-1', 'Tokyo', 2, 0, 500, 512,
        1400, 1400, 1401, 1500, 1600, 1700, 1701, 1800, 'asked', 'Stopped by API request',
        '[{"name": "default", "host": "play.test", "port": 20001, "transport_type": "udp"}]', 1);
INSERT INTO rooms (room_id, app_id, region, room_config, status, process_id, room_allocation_id, scheduled_at,
                   created_at, destroyed_at, end_reason)
VALUES ('room-1', 'app-1', 'Tokyo', '{"map": "ice"}', 'active', 'cccccccc-0000-4000-8000-000000000001',
        'dddddddd-0000-4000-8000-000000000001', 1400, 1400, NULL, NULL),
       ('room-2', 'app-1', 'Tokyo', NULL, 'destroyed', NULL, NULL, NULL, 1400, 1750, 'Stopped by API request'),
       ('room-3', 'app-1', 'Tokyo', NULL, 'suspended', NULL, NULL, NULL, 1450, NULL, NULL);
INSERT INTO past_allocations (room_allocation_id, room_id, process_id, scheduled_at, unscheduled_at)
VALUES ('dddddddd-0000-4000-8000-000000000002', 'room-2', 'cccccccc-0000-4000-8000-000000000002', 1400, 1750);
INSERT INTO host_ports (port, owner, free_at)
VALUES (20000, 'cccccccc-0000-4000-8000-000000000001', 0), (20001, NULL, 1900), (20002, 'sandbox-1', 0);
INSERT INTO sandboxes (sandbox_id, deployment_id, state, host_ports, private_ip, created_at, ready_at)
VALUES ('sandbox-1', 'dep-1', 'ready', '[20002]', '10.88.0.2', 1500, 1510);
