-- The journal: what happened to processes and rooms, in order, each with its cause. And who is told of it.

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,            -- given by the store, never twice: the event's id
    at BIGINT NOT NULL,
    org_id TEXT NOT NULL,
    app_id TEXT NOT NULL,
    room_id TEXT,                       -- of events of a room
    process_id TEXT,                    -- of events of a process; of a room's, the process it is about
    kind TEXT NOT NULL,                 -- "room.created", "process.stopping" …: core/events.py
    cause TEXT                          -- why, in words for people
);
-- Room ids are random: in an index each one dirties a page of its own, which was half of what the journal cost a
-- new room. So a room knows its first event, and only what happens to it later is found by its id.
CREATE INDEX events_room ON events (room_id, seq) WHERE room_id IS NOT NULL AND kind <> 'room.created';
ALTER TABLE rooms ADD COLUMN created_seq BIGINT;
CREATE INDEX events_process ON events (process_id, seq) WHERE room_id IS NULL;

CREATE TABLE webhooks (
    webhook_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs,
    app_id TEXT REFERENCES apps,        -- NULL: every app of the org
    url TEXT NOT NULL,
    secret TEXT NOT NULL,               -- signs what is sent, so it is kept in clear; shown once
    kinds TEXT,                         -- JSON array of kinds; NULL: all
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    sent_order BIGINT NOT NULL DEFAULT 0,  -- up to where the receiver has taken events: order, then seq
    sent_seq BIGINT NOT NULL,
    failures BIGINT NOT NULL DEFAULT 0, -- in a row
    failing_since BIGINT,               -- the first of these
    next_try_at BIGINT NOT NULL DEFAULT 0,
    last_error TEXT,
    disabled_at BIGINT                  -- it refused for too long
);
CREATE INDEX webhooks_org ON webhooks (org_id);
