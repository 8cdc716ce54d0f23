-- A second build, numbered for its app, that was never deployed.
INSERT INTO builds (build_key, build_id, org_id, kind, status, upload_size, created_at, created_by)
VALUES ('bbbbbbbb-0000-4000-8000-000000000002', 'bld-2', 'org-1', 'upload', 'created', 10, 2000, 'org-token-1');
INSERT INTO app_build_numbers (app_id, number, build_key) VALUES ('app-1', 2, 'bbbbbbbb-0000-4000-8000-000000000002');
UPDATE apps SET builds_numbered = 2 WHERE app_id = 'app-1';
