-- Processes that an app wants in a region whether rooms ask for them or not, and rooms that wait for capacity.

ALTER TABLE processes ADD COLUMN drain_reason TEXT;     -- why it takes no new rooms
ALTER TABLE processes ADD COLUMN drained_at BIGINT;     -- since when
ALTER TABLE processes ADD COLUMN emptied_at BIGINT;     -- when its last room left it; NULL: it holds some, or never did
ALTER TABLE processes ADD COLUMN made_for TEXT NOT NULL DEFAULT 'request'
    CHECK (made_for IN ('room', 'request', 'allocation', 'pool'));
UPDATE processes SET made_for = 'room' WHERE initial_room_id IS NOT NULL;
CREATE INDEX processes_draining ON processes (deployment_id, region) WHERE draining = 1 AND removed = 0;

CREATE TABLE static_allocations (           -- what apps.service_config asks for, region by region
    app_id TEXT NOT NULL REFERENCES apps,
    region TEXT NOT NULL,
    min_processes BIGINT NOT NULL,
    target_processes BIGINT NOT NULL,       -- of an autoscaled region: what the autoscaler set last
    max_processes BIGINT NOT NULL,
    requests_per_process DOUBLE PRECISION,  -- NULL: the region is not autoscaled
    PRIMARY KEY (app_id, region),
    CHECK (min_processes >= 0 AND min_processes <= target_processes AND target_processes <= max_processes)
);

CREATE TABLE warm_pools (                   -- processes without rooms, kept beyond those that hold some
    app_id TEXT NOT NULL REFERENCES apps,
    region TEXT NOT NULL,
    processes BIGINT NOT NULL CHECK (processes > 0),
    PRIMARY KEY (app_id, region)
);

CREATE TABLE allocation_holds (             -- why a wanted process could not be made, and when it is tried again
    app_id TEXT NOT NULL REFERENCES apps,
    region TEXT NOT NULL,
    deployment_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    tries BIGINT NOT NULL,                  -- in a row
    until BIGINT NOT NULL,
    PRIMARY KEY (app_id, region)
);

CREATE TABLE capacity_shortage (            -- when somebody was last refused for this machine's capacity
    one INTEGER PRIMARY KEY CHECK (one = 1),
    at BIGINT NOT NULL
);

CREATE TABLE measured_loads (               -- of autoscaled regions: what all running processes had at a moment
    app_id TEXT NOT NULL REFERENCES apps,
    region TEXT NOT NULL,
    at BIGINT NOT NULL,
    requests BIGINT,                        -- NULL: some could not be measured
    PRIMARY KEY (app_id, region, at)
);
CREATE INDEX measured_loads_age ON measured_loads (at);

CREATE TABLE waiting_rooms (                -- rooms of status 'scheduling' that shall be placed when there is capacity
    room_id TEXT PRIMARY KEY REFERENCES rooms,
    app_id TEXT NOT NULL,
    region TEXT NOT NULL,
    number BIGINT NOT NULL,                 -- the place in its app's and region's queue
    deployment_id TEXT,                     -- NULL: the latest one of the moment at which it is placed
    deadline BIGINT NOT NULL,
    short TEXT NOT NULL,                    -- what was missing when it was last tried
    machine_full BIGINT NOT NULL            -- that was this machine's capacity, which others may give back
);
CREATE UNIQUE INDEX waiting_rooms_queue ON waiting_rooms (app_id, region, number);
CREATE INDEX waiting_rooms_machine ON waiting_rooms (machine_full) WHERE machine_full = 1;
