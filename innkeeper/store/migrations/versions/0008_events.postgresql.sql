-- With several writers a lower seq may be committed after a higher one. So events are told in the order of the
-- transactions, and only those below the oldest transaction that still runs.

ALTER TABLE events ALTER COLUMN seq TYPE BIGINT;
ALTER TABLE events ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE events ADD COLUMN tx_id BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint);
CREATE INDEX events_order ON events (tx_id, seq);
