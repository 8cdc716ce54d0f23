-- name: of_org
-- An org's members, the longest first, with when they were last given a token.
SELECT m.*, u.email, (SELECT MAX(t.created_at) FROM user_tokens t WHERE t.user_id = m.user_id) AS last_login
FROM members m JOIN users u ON u.user_id = m.user_id
WHERE m.org_id = :org_id ORDER BY m.joined_at, u.email LIMIT 1000

-- name: of_user
-- The orgs that a user belongs to, the longest first.
SELECT * FROM members WHERE user_id = :user_id ORDER BY joined_at, org_id LIMIT 1000

-- name: by_email
-- An org's member with this address.
SELECT m.* FROM members m JOIN users u ON u.user_id = m.user_id
WHERE m.org_id = :org_id AND u.email = :email

-- name: insert
-- The user belongs to the org from now on.
INSERT INTO members (org_id, user_id, scopes, invited_by, invited_at, joined_at)
VALUES (:org_id, :user_id, :scopes, :invited_by, :invited_at, :joined_at)

-- name: set_scopes
-- What the member may do from now on.
UPDATE members SET scopes = :scopes WHERE org_id = :org_id AND user_id = :user_id

-- name: delete
-- The user belongs to the org no more.
DELETE FROM members WHERE org_id = :org_id AND user_id = :user_id

-- name: other_scopes
-- What the other members of an org may do.
SELECT scopes FROM members WHERE org_id = :org_id AND user_id <> :user_id LIMIT 1000

-- name: invite_by_email
-- The org's pending invite to an address.
SELECT * FROM invites WHERE org_id = :org_id AND email = :email

-- name: invites_of_org
-- An org's pending invites, newest first.
SELECT * FROM invites WHERE org_id = :org_id ORDER BY created_at DESC, email LIMIT 1000

-- name: invites_of_email
-- The pending invites to an address, newest first.
SELECT * FROM invites WHERE email = :email ORDER BY created_at DESC, org_id LIMIT 1000

-- name: people
-- How many members and pending invites an org has.
SELECT (SELECT COUNT(*) FROM members WHERE org_id = :org_id)
     + (SELECT COUNT(*) FROM invites WHERE org_id = :org_id) AS count

-- name: put_invite
-- A new invite, or other scopes in the one that is pending.
INSERT INTO invites (org_id, email, scopes, invited_by, created_at)
VALUES (:org_id, :email, :scopes, :invited_by, :created_at)
ON CONFLICT (org_id, email) DO UPDATE SET scopes = :scopes, invited_by = :invited_by

-- name: set_invite_scopes
-- What the invited may do once they accept.
UPDATE invites SET scopes = :scopes WHERE org_id = :org_id AND email = :email

-- name: delete_invite
-- The invite was accepted, rejected or rescinded.
DELETE FROM invites WHERE org_id = :org_id AND email = :email
