-- name: insert
-- A new user, who belongs to no organization yet.
INSERT INTO users (user_id, email, created_at, created_by) VALUES (:user_id, :email, :created_at, :created_by)

-- name: by_id
-- One user.
SELECT * FROM users WHERE user_id = :user_id

-- name: by_email
-- Whose address this is.
SELECT * FROM users WHERE email = :email

-- name: count
-- How many users there are.
SELECT COUNT(*) AS count FROM users

-- name: all
-- Every user, by address.
SELECT * FROM users ORDER BY email LIMIT 10000

-- name: by_token_hash
-- The user whose token's plain text has this SHA-256, with the token, whatever its status.
SELECT t.user_token_id, t.token_hash, t.status, u.user_id, u.email
FROM user_tokens t JOIN users u ON u.user_id = t.user_id WHERE t.token_hash = :token_hash

-- name: insert_token
-- A new token; its plain text is kept nowhere.
INSERT INTO user_tokens (user_token_id, user_id, token_hash, last_four, status, created_at, created_by)
VALUES (:user_token_id, :user_id, :token_hash, :last_four, 'active', :created_at, :created_by)

-- name: token_by_id
-- One of a user's tokens.
SELECT * FROM user_tokens WHERE user_token_id = :user_token_id AND user_id = :user_id

-- name: tokens_of
-- A user's tokens, newest first.
SELECT * FROM user_tokens WHERE user_id = :user_id ORDER BY created_at DESC, user_token_id LIMIT 1000

-- name: active_tokens
-- How many of a user's tokens work.
SELECT COUNT(*) AS count FROM user_tokens WHERE user_id = :user_id AND status = 'active'

-- name: forget_revoked
-- Forget a user's revoked tokens but for the latest; nobody can use them.
DELETE FROM user_tokens WHERE user_id = :user_id AND status = 'revoked' AND user_token_id NOT IN (
    SELECT user_token_id FROM user_tokens WHERE user_id = :user_id AND status = 'revoked'
    ORDER BY created_at DESC, user_token_id LIMIT 100)

-- name: revoke_token
-- It stops working with this commit.
UPDATE user_tokens SET status = 'revoked' WHERE user_token_id = :user_token_id
