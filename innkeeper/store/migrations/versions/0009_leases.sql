-- Who may act alone: one reconciler at a time, however many servers there are. No moment stands here: whoever waits
-- sees by its own clock that nothing has been renewed (docs/decisions/0009).

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT,                        -- which server, for people; NULL: it is free
    place TEXT,                         -- whose files the holder has: a holder elsewhere could not carry on
    fence BIGINT NOT NULL,              -- grows with every change of hands: an old holder's writes are refused
    renewals BIGINT NOT NULL            -- grows while the holder lives
);
