-- Fleets and their regions, this machine as their node, and what fleets used.

CREATE TABLE fleets (
    fleet_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs,
    name TEXT NOT NULL,
    node_shape_id TEXT NOT NULL,            -- as V2 names it
    scale_up_threshold BIGINT NOT NULL,     -- per cent
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX fleets_name ON fleets (org_id, name);

CREATE TABLE fleet_regions (                -- a region without a row is as its fleet was made: no baseline
    fleet_id TEXT NOT NULL REFERENCES fleets,
    region TEXT NOT NULL,
    node_baseline BIGINT NOT NULL CHECK (node_baseline >= 0),
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (fleet_id, region)
);

-- Where deployments go that name no fleet. NULL until the next start makes one.
ALTER TABLE orgs ADD COLUMN default_fleet_id TEXT;

-- Where a process runs, as its deployment said or did not say; like the deployment, it never changes.
ALTER TABLE processes ADD COLUMN fleet_id TEXT;
ALTER TABLE processes ADD COLUMN hosting TEXT NOT NULL DEFAULT 'shared' CHECK (hosting IN ('shared', 'metal'));

-- What the machine really has; beside it stands what is promised of it.
ALTER TABLE machine ADD COLUMN cores BIGINT NOT NULL DEFAULT 0;
ALTER TABLE machine ADD COLUMN total_memory_mb BIGINT NOT NULL DEFAULT 0;

CREATE TABLE machine_samples (              -- one a minute
    at BIGINT PRIMARY KEY,
    provisioned_millis BIGINT NOT NULL,     -- thousandths of a core
    overhead_millis BIGINT NOT NULL
);

CREATE TABLE fleet_samples (                -- one a minute for each fleet and region in use then
    at BIGINT NOT NULL,
    fleet_id TEXT NOT NULL,
    region TEXT NOT NULL,
    utilized_millis BIGINT NOT NULL,        -- as requested by what ran
    PRIMARY KEY (fleet_id, at, region)
);
CREATE INDEX fleet_samples_age ON fleet_samples (at);
