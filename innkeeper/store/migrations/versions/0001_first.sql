-- The first schema. Moments are milliseconds since the epoch (BIGINT); truths are 0 or 1; JSON is TEXT.
-- Written for SQLite and PostgreSQL alike.

CREATE TABLE installation (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    installation_id TEXT NOT NULL,
    url_secret TEXT NOT NULL,           -- signs upload URLs
    created_at BIGINT NOT NULL,
    probes BIGINT NOT NULL DEFAULT 0    -- writes made only to see that the store accepts them
);

CREATE TABLE machine (                  -- what is promised of this machine; kept exact by the same transactions
    node_id TEXT PRIMARY KEY,
    cpu_millis BIGINT NOT NULL,         -- what it has, times the overcommit factor
    memory_mb BIGINT NOT NULL,
    cpu_millis_promised BIGINT NOT NULL DEFAULT 0 CHECK (cpu_millis_promised >= 0),
    memory_mb_promised BIGINT NOT NULL DEFAULT 0 CHECK (memory_mb_promised >= 0)
);

CREATE TABLE orgs (
    org_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    max_requested_memory_mb BIGINT NOT NULL,
    log_retention_hours BIGINT,
    concurrent_vcpus_limit DOUBLE PRECISION,
    created_at BIGINT NOT NULL
);

CREATE TABLE org_tokens (
    org_token_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,    -- SHA-256, hex: the plain text has 256 random bits
    last_four TEXT NOT NULL,
    scopes TEXT,                        -- JSON array; NULL is admin
    status TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX org_tokens_name ON org_tokens (org_id, name);

CREATE TABLE apps (
    app_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs,
    app_name TEXT NOT NULL,
    app_secret TEXT NOT NULL,           -- game servers verify players' tokens with it, so it is kept in clear
    auth_configuration TEXT NOT NULL,
    service_config TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    deleted_at BIGINT,
    deleted_by TEXT,
    latest_deployment_id TEXT,
    deployments_made BIGINT NOT NULL DEFAULT 0,
    builds_numbered BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX apps_name ON apps (org_id, app_name) WHERE deleted_at IS NULL;

CREATE TABLE builds (
    build_key TEXT PRIMARY KEY,
    build_id TEXT NOT NULL,
    org_id TEXT NOT NULL REFERENCES orgs,
    build_tag TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('upload', 'registry')),
    status TEXT NOT NULL CHECK (status IN ('created', 'running', 'succeeded', 'failed')),
    upload_size BIGINT NOT NULL,
    uploaded BIGINT NOT NULL DEFAULT 0,
    image_size BIGINT NOT NULL DEFAULT 0,
    image_ref TEXT,
    content_hash TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    deleted_at BIGINT,
    expired_at BIGINT
);
CREATE UNIQUE INDEX builds_id ON builds (org_id, build_id);
CREATE INDEX builds_newest ON builds (org_id, created_at);

CREATE TABLE deployments (
    deployment_id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps,
    number BIGINT NOT NULL,
    build_key TEXT NOT NULL REFERENCES builds,
    build_id TEXT NOT NULL,
    build_tag TEXT,
    deployment_tag TEXT,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    cpu_millis BIGINT NOT NULL,
    memory_mb BIGINT NOT NULL,
    gpu BIGINT NOT NULL,
    rooms_per_process BIGINT NOT NULL,
    ports TEXT NOT NULL,                -- JSON array of {name, port, transport_type}; the default one first
    env TEXT NOT NULL,                  -- JSON array of {name, value}
    idle_timeout_enabled BIGINT NOT NULL,
    fleet_id TEXT
);
CREATE UNIQUE INDEX deployments_number ON deployments (app_id, number);
CREATE INDEX deployments_build ON deployments (build_key);

CREATE TABLE deployment_starts (        -- how starting goes: crash back-off; what was used lately
    deployment_id TEXT PRIMARY KEY REFERENCES deployments,
    start_failures BIGINT NOT NULL DEFAULT 0,
    last_start_failure_at BIGINT,
    last_used_at BIGINT NOT NULL
);

CREATE TABLE processes (
    process_id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps,
    org_id TEXT NOT NULL,
    deployment_id TEXT NOT NULL REFERENCES deployments,
    region TEXT NOT NULL,
    rooms_per_process BIGINT NOT NULL,
    rooms_allocated BIGINT NOT NULL DEFAULT 0,
    accepting BIGINT NOT NULL DEFAULT 1,    -- starting or running, and not draining
    cpu_millis BIGINT NOT NULL,
    memory_mb BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    scheduled_at BIGINT,
    attempted_at BIGINT,
    booted_at BIGINT,
    started_at BIGINT,
    stopping_at BIGINT,
    term_sent_at BIGINT,
    kill_sent_at BIGINT,
    terminated_at BIGINT,
    draining BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    stop_reason TEXT,
    stop_grace_s DOUBLE PRECISION,
    summary_exit_reason TEXT,
    exposed_ports TEXT NOT NULL,            -- JSON array of {name, host, port, transport_type}; the default one first
    sandbox_id TEXT,
    initial_room_id TEXT,
    idle_since BIGINT,
    removed BIGINT NOT NULL DEFAULT 0,      -- the runtime holds nothing of it any more
    CHECK (rooms_allocated >= 0 AND rooms_allocated <= rooms_per_process),
    CHECK (terminated_at IS NULL OR rooms_allocated = 0)
);
-- Placement: running before starting, fullest first, oldest first (behaviour.md 5.1).
CREATE INDEX processes_open ON processes
    (deployment_id, region, (started_at IS NULL), rooms_allocated DESC, created_at)
    WHERE accepting = 1 AND rooms_allocated < rooms_per_process;
CREATE INDEX processes_newest ON processes (app_id, created_at);
CREATE INDEX processes_unfinished ON processes (app_id, region) WHERE removed = 0;

CREATE TABLE rooms (
    room_id TEXT PRIMARY KEY,               -- unique in the whole installation, and for ever
    app_id TEXT NOT NULL,
    region TEXT NOT NULL,
    room_config TEXT,
    status TEXT NOT NULL CHECK (status IN ('scheduling', 'active', 'suspended', 'destroyed')),
    process_id TEXT,                        -- the current allocation, where there is one
    room_allocation_id TEXT,
    scheduled_at BIGINT,
    created_at BIGINT NOT NULL,
    destroyed_at BIGINT,
    end_reason TEXT,
    CHECK ((status = 'active') = (process_id IS NOT NULL))
);
CREATE INDEX rooms_process ON rooms (process_id) WHERE process_id IS NOT NULL;
CREATE INDEX rooms_destroyed ON rooms (destroyed_at) WHERE destroyed_at IS NOT NULL;

CREATE TABLE past_allocations (             -- the history; the current allocation stands in rooms
    room_allocation_id TEXT PRIMARY KEY,
    room_id TEXT NOT NULL,
    process_id TEXT NOT NULL,
    scheduled_at BIGINT NOT NULL,
    unscheduled_at BIGINT NOT NULL
);
CREATE INDEX past_allocations_room ON past_allocations (room_id, scheduled_at);
CREATE INDEX past_allocations_process ON past_allocations (process_id, unscheduled_at);

CREATE TABLE host_ports (                   -- one row for each port of the range
    port BIGINT PRIMARY KEY,
    owner TEXT,                             -- a process id or a sandbox id
    free_at BIGINT NOT NULL DEFAULT 0       -- at rest until then
);
CREATE INDEX host_ports_free ON host_ports (free_at, port) WHERE owner IS NULL;
CREATE INDEX host_ports_owner ON host_ports (owner) WHERE owner IS NOT NULL;

CREATE TABLE sandboxes (                    -- network sandboxes made ahead
    sandbox_id TEXT PRIMARY KEY,
    deployment_id TEXT NOT NULL REFERENCES deployments,
    state TEXT NOT NULL CHECK (state IN ('making', 'ready', 'taken', 'removing')),
    host_ports TEXT NOT NULL,               -- JSON array, in the order of the deployment's ports
    private_ip TEXT,
    process_id TEXT,
    created_at BIGINT NOT NULL,
    ready_at BIGINT
);
CREATE INDEX sandboxes_ready ON sandboxes (deployment_id, created_at) WHERE state = 'ready';
