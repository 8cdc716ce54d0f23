-- People: a member with a token, and an invite to somebody who has not come yet.
INSERT INTO users (user_id, email, created_at, created_by) VALUES ('user-1', 'ann@studio.test', 2200, 'innkeeper');
INSERT INTO user_tokens (user_token_id, user_id, token_hash, last_four, status, created_at, created_by)
VALUES ('user-token-1', 'user-1', 'hash-3', 'f00d', 'active', 2200, 'innkeeper');
INSERT INTO members (org_id, user_id, scopes, invited_by, invited_at, joined_at)
VALUES ('org-1', 'user-1', '"viewer"', 'innkeeper', 2200, 2300);
INSERT INTO invites (org_id, email, scopes, invited_by, created_at)
VALUES ('org-1', 'bob@studio.test', '["rooms:rooms:create"]', 'user-1', 2400);
