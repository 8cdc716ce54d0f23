-- A token with a rate of its own.
UPDATE org_tokens SET calls_per_second = 20 WHERE org_token_id = 'org-token-1';
