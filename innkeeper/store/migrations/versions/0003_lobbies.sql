-- Lobbies: a room with a creator, a visibility, a short code and a state.

-- On the room, so that a room that ends leaves the listing by itself, and that one which no process shall hold
-- ('local') is known by its own row. NULL: the room has no lobby (any more).
-- "IS NULL OR" spares rooms without a lobby the table that SQLite makes of a list.
ALTER TABLE rooms ADD COLUMN lobby_visibility TEXT
    CHECK (lobby_visibility IS NULL OR lobby_visibility IN ('public', 'private', 'local'));

CREATE TABLE lobbies (
    room_id TEXT PRIMARY KEY REFERENCES rooms,
    app_id TEXT NOT NULL,
    number BIGINT NOT NULL,                 -- rises with each lobby of the app: the newest has the highest
    short_code TEXT NOT NULL,
    short_code_chosen BIGINT NOT NULL,      -- by its creator; old versions show no other
    created_by TEXT NOT NULL,               -- a player's id
    created_at BIGINT NOT NULL,
    counted BIGINT NOT NULL,                -- against what a player may create in an hour
    text_length BIGINT NOT NULL,            -- of the next two: known without reading them
    initial_config TEXT NOT NULL,           -- JSON
    state TEXT                              -- JSON; NULL until the game sets one
);
CREATE INDEX lobbies_newest ON lobbies (app_id, number);
CREATE INDEX lobbies_code ON lobbies (app_id, short_code, number);
CREATE INDEX lobbies_creator ON lobbies (app_id, created_by, created_at) WHERE counted = 1;

CREATE INDEX rooms_listed ON rooms (app_id, lobby_visibility, created_at)
    WHERE lobby_visibility IS NOT NULL AND status IN ('scheduling', 'active');
CREATE INDEX rooms_lobby_ended ON rooms (destroyed_at)
    WHERE lobby_visibility IS NOT NULL AND status = 'destroyed';
