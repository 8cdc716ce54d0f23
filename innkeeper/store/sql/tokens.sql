-- name: by_hash
-- The token whose plain text has this SHA-256, whatever its status.
SELECT * FROM org_tokens WHERE token_hash = :token_hash

-- name: by_id
-- One of an org's tokens.
SELECT * FROM org_tokens WHERE org_token_id = :org_token_id AND org_id = :org_id

-- name: by_name
-- Who holds a name among an org's tokens, revoked ones too.
SELECT * FROM org_tokens WHERE org_id = :org_id AND name = :name

-- name: of_org
-- An org's tokens, newest first.
SELECT * FROM org_tokens WHERE org_id = :org_id ORDER BY created_at DESC, org_token_id DESC LIMIT 10000

-- name: insert
-- A new token; its plain text is kept nowhere.
INSERT INTO org_tokens (org_token_id, org_id, name, token_hash, last_four, scopes, status, created_by, created_at)
VALUES (:org_token_id, :org_id, :name, :token_hash, :last_four, :scopes, 'active', :created_by, :created_at)

-- name: mark_revoked
-- It stops working with this commit.
UPDATE org_tokens SET status = 'revoked' WHERE org_token_id = :org_token_id

-- name: replace_secret
-- A preset that changed: the token keeps its name and id, the former text stops working.
UPDATE org_tokens SET token_hash = :token_hash, last_four = :last_four, status = 'active', scopes = NULL
WHERE org_token_id = :org_token_id

-- name: set_rate
-- Calls in a second from the next one on; NULL: as the settings say.
UPDATE org_tokens SET calls_per_second = :calls_per_second WHERE org_token_id = :org_token_id
