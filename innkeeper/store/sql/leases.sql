-- name: make
-- A lease that nobody has had yet.
INSERT INTO leases (name, holder, place, fence, renewals) VALUES (:name, NULL, NULL, 0, 0)
ON CONFLICT (name) DO NOTHING

-- name: look
-- Who holds it, and the two numbers that tell whether anything has changed since.
SELECT holder, place, fence, renewals FROM leases WHERE name = :name

-- name: take
-- It changes hands, unless anything has changed since it was looked at.
UPDATE leases SET holder = :holder, place = :place, fence = fence + 1, renewals = 0
WHERE name = :name AND fence = :fence AND renewals = :renewals

-- name: renew
-- The holder lives.
UPDATE leases SET renewals = renewals + 1 WHERE name = :name AND fence = :fence

-- name: free
-- The holder gives it back; its fence is worth nothing from now on.
UPDATE leases SET holder = NULL, place = NULL, fence = fence + 1, renewals = 0
WHERE name = :name AND fence = :fence

-- name: check
-- Whether a fence still holds. (PostgreSQL: and keeps it so until the end of the transaction.)
SELECT 1 AS holds FROM leases WHERE name = :name AND fence = :fence
