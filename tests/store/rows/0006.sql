-- A fleet with a region of its own, and what it used.
INSERT INTO fleets (fleet_id, org_id, name, node_shape_id, scale_up_threshold, created_at)
VALUES ('fleet-1', 'org-1', 'main', 'this-machine', 80, 2700);
INSERT INTO fleet_regions (fleet_id, region, node_baseline, updated_at) VALUES ('fleet-1', 'Tokyo', 1, 2700);
UPDATE orgs SET default_fleet_id = 'fleet-1' WHERE org_id = 'org-1';
UPDATE processes SET fleet_id = 'fleet-1', hosting = 'metal';
INSERT INTO machine_samples (at, provisioned_millis, overhead_millis) VALUES (2700, 2000, 50);
INSERT INTO fleet_samples (at, fleet_id, region, utilized_millis) VALUES (2700, 'fleet-1', 'Tokyo', 500);
