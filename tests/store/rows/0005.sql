-- What was measured, and a month that was closed and paid.
UPDATE orgs SET monthly_vcpu_hours_limit = 1000.5 WHERE org_id = 'org-1';
INSERT INTO process_usage (process_id, seen_at, measured_at, cpu_ms, memory_bytes, egress_bytes, connections,
                           connections_changed_at)
VALUES ('cccccccc-0000-4000-8000-000000000001', 2500, 2500, 100, 1000000, NULL, 2, 2450);
INSERT INTO usage_samples (process_id, step_s, at, cpu_ms, memory_bytes, egress_bytes, connections)
VALUES ('cccccccc-0000-4000-8000-000000000001', 15, 2500, 100, 1000000, 5, 2);
INSERT INTO metered_months (org_id, month, app_id, vcpu_us, egress_bytes) VALUES ('org-1', 202601, 'app-1', 150000, 99);
INSERT INTO vcpu_peaks (org_id, hour, cpu_millis) VALUES ('org-1', 0, 1000);
INSERT INTO invoices (invoice_id, org_id, month, closed_at, due_at, amount_micros, credit_micros, paid_at)
VALUES ('inv-1', 'org-1', 202512, 2500, 2600, 700, 100, 2550);
INSERT INTO invoice_items (invoice_id, position, app_id, product_name, kind, quantity, price_micros, amount_micros)
VALUES ('inv-1', 1, 'app-1', 'vCPU', 'vcpu', 150000, 40000, 700);
