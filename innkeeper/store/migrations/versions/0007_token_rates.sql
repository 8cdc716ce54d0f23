-- How often an org token may call.

-- In a second; 0: as often as it likes. NULL: as the installation's settings say for every token.
ALTER TABLE org_tokens ADD COLUMN calls_per_second BIGINT
    CHECK (calls_per_second IS NULL OR calls_per_second >= 0);
