-- name: insert
-- Somebody more to be told.
INSERT INTO webhooks (webhook_id, org_id, app_id, url, secret, kinds, created_at, created_by, sent_order, sent_seq)
VALUES (:webhook_id, :org_id, :app_id, :url, :secret, :kinds, :created_at, :created_by, :sent_order, :sent_seq)

-- name: of_org
-- An organization's, oldest first.
SELECT webhook_id, org_id, app_id, url, secret, kinds, created_at, created_by, sent_order, sent_seq, failures,
       failing_since, next_try_at, last_error, disabled_at
FROM webhooks WHERE org_id = :org_id ORDER BY created_at, webhook_id

-- name: by_id
-- One of an organization's.
SELECT webhook_id, org_id, app_id, url, secret, kinds, created_at, created_by, sent_order, sent_seq, failures,
       failing_since, next_try_at, last_error, disabled_at
FROM webhooks WHERE webhook_id = :webhook_id AND org_id = :org_id

-- name: enabled
-- All that events are sent to.
SELECT webhook_id, org_id, app_id, url, secret, kinds, created_at, created_by, sent_order, sent_seq, failures,
       failing_since, next_try_at, last_error, disabled_at
FROM webhooks WHERE disabled_at IS NULL ORDER BY webhook_id

-- name: delete
-- Somebody is not told any more.
DELETE FROM webhooks WHERE webhook_id = :webhook_id AND org_id = :org_id

-- name: taken
-- Up to where it has taken events; whatever went wrong before is over.
UPDATE webhooks SET sent_order = :sent_order, sent_seq = :sent_seq, failures = 0, failing_since = NULL,
                    next_try_at = 0, last_error = NULL
WHERE webhook_id = :webhook_id AND disabled_at IS NULL

-- name: failed
-- A delivery failed; what was taken before it is kept with that.
UPDATE webhooks SET sent_order = :sent_order, sent_seq = :sent_seq, failures = :failures,
                    failing_since = :failing_since, next_try_at = :next_try_at, last_error = :last_error
WHERE webhook_id = :webhook_id AND disabled_at IS NULL

-- name: disable
-- Nothing is sent to it until somebody says so.
UPDATE webhooks SET disabled_at = :now, last_error = :last_error
WHERE webhook_id = :webhook_id AND disabled_at IS NULL

-- name: enable
-- Send to it again, at once, on from :sent_order and :sent_seq.
UPDATE webhooks SET disabled_at = NULL, failures = 0, failing_since = NULL, next_try_at = 0, last_error = NULL,
                    sent_order = :sent_order, sent_seq = :sent_seq
WHERE webhook_id = :webhook_id
