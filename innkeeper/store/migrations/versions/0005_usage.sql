-- Measured usage of processes, and invoices.

-- Vcpu-hours of a UTC calendar month; NULL is no limit of the org's own.
ALTER TABLE orgs ADD COLUMN monthly_vcpu_hours_limit DOUBLE PRECISION;

-- 1: it has ended, and all of its time stands in metered_months.
ALTER TABLE processes ADD COLUMN metered BIGINT NOT NULL DEFAULT 0;
CREATE INDEX processes_unmetered ON processes (org_id, app_id)
    WHERE metered = 0 AND started_at IS NOT NULL;

CREATE TABLE process_usage (                -- what was measured last of each process; NULL: cannot be measured
    process_id TEXT PRIMARY KEY,
    seen_at BIGINT NOT NULL,                -- a listing that began then showed it running
    measured_at BIGINT NOT NULL,
    cpu_ms BIGINT,                          -- since it booted
    memory_bytes BIGINT,
    egress_bytes BIGINT,                    -- since it booted
    connections BIGINT,
    connections_changed_at BIGINT
);

CREATE TABLE usage_samples (                -- every step_s seconds one; the coarser, the longer they are kept
    process_id TEXT NOT NULL,
    step_s BIGINT NOT NULL,
    at BIGINT NOT NULL,
    cpu_ms BIGINT,
    memory_bytes BIGINT,
    egress_bytes BIGINT,
    connections BIGINT,
    PRIMARY KEY (process_id, step_s, at)
);
CREATE INDEX usage_samples_age ON usage_samples (step_s, at);

CREATE TABLE metered_months (               -- of ended processes the time, of all the measured egress
    org_id TEXT NOT NULL REFERENCES orgs,
    month BIGINT NOT NULL,                  -- 202601 is January 2026, UTC
    app_id TEXT NOT NULL REFERENCES apps,
    vcpu_us BIGINT NOT NULL DEFAULT 0,      -- millionths of a vCPU-second: milliseconds times thousandths of a core
    egress_bytes BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (org_id, month, app_id)
);

CREATE TABLE vcpu_peaks (                   -- the most that was requested at a time, hour by hour
    org_id TEXT NOT NULL REFERENCES orgs,
    hour BIGINT NOT NULL,                   -- when it began
    cpu_millis BIGINT NOT NULL,
    PRIMARY KEY (org_id, hour)
);

CREATE TABLE invoices (
    invoice_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs,
    month BIGINT NOT NULL,
    closed_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    amount_micros BIGINT NOT NULL CHECK (amount_micros >= 0),   -- millionths of a dollar
    credit_micros BIGINT NOT NULL CHECK (credit_micros >= 0 AND credit_micros <= amount_micros),
    paid_at BIGINT
);
CREATE UNIQUE INDEX invoices_month ON invoices (org_id, month);  -- a month is closed once

CREATE TABLE invoice_items (
    invoice_id TEXT NOT NULL REFERENCES invoices,
    position BIGINT NOT NULL,
    app_id TEXT NOT NULL,
    product_name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('vcpu', 'egress')),
    quantity BIGINT NOT NULL,               -- vcpu_us or bytes
    price_micros BIGINT NOT NULL,           -- of a vCPU-hour or a GB
    amount_micros BIGINT NOT NULL CHECK (amount_micros >= 0),
    PRIMARY KEY (invoice_id, position)
);
