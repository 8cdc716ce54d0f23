-- Users, members and invites of organizations.

-- 1: the installation's own organization, which the first start made; it sees and changes users.
ALTER TABLE orgs ADD COLUMN operator BIGINT NOT NULL DEFAULT 0;
UPDATE orgs SET operator = 1 WHERE org_id = (SELECT org_id FROM orgs ORDER BY created_at, org_id LIMIT 1);
CREATE UNIQUE INDEX orgs_operator ON orgs (operator) WHERE operator = 1;

CREATE TABLE users (                    -- people; they belong to organizations as members
    user_id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,         -- in lower case
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

CREATE TABLE user_tokens (
    user_token_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users,
    token_hash TEXT NOT NULL UNIQUE,    -- SHA-256, hex: the plain text has 256 random bits
    last_four TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'revoked')),
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
CREATE INDEX user_tokens_user ON user_tokens (user_id, created_at);

CREATE TABLE members (
    org_id TEXT NOT NULL REFERENCES orgs,
    user_id TEXT NOT NULL REFERENCES users,
    scopes TEXT NOT NULL,               -- JSON: the name of a role, or an array of scopes
    invited_by TEXT NOT NULL,
    invited_at BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX members_user ON members (user_id, joined_at);

CREATE TABLE invites (                  -- to an address, whose user there may not be yet
    org_id TEXT NOT NULL REFERENCES orgs,
    email TEXT NOT NULL,                -- in lower case
    scopes TEXT NOT NULL,               -- as in members
    invited_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, email)
);
CREATE INDEX invites_email ON invites (email, created_at);
