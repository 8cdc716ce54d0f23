-- Who may act alone, and until when: one reconciler at a time, however many servers there are.

CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,               -- which server, for people
    fence BIGINT NOT NULL,              -- grows with every change of hands: an old holder's writes are refused
    expires_at BIGINT NOT NULL
);
