-- name: unmetered_ended
-- Some processes whose time is over and does not stand in metered_months yet.
SELECT process_id, org_id, app_id, cpu_millis, started_at, stopping_at FROM processes
WHERE metered = 0 AND started_at IS NOT NULL AND stopping_at IS NOT NULL LIMIT :share

-- name: mark_metered
-- Its whole time stands in metered_months.
UPDATE processes SET metered = 1 WHERE process_id = :process_id AND metered = 0

-- name: add_month
-- More usage of an app in a month.
INSERT INTO metered_months (org_id, month, app_id, vcpu_us, egress_bytes)
VALUES (:org_id, :month, :app_id, :vcpu_us, :egress_bytes)
ON CONFLICT (org_id, month, app_id) DO UPDATE SET
    vcpu_us = metered_months.vcpu_us + excluded.vcpu_us,
    egress_bytes = metered_months.egress_bytes + excluded.egress_bytes

-- name: month_of_org
-- What stands in a month, by app.
SELECT m.app_id, a.app_name, m.vcpu_us, m.egress_bytes
FROM metered_months m JOIN apps a ON a.app_id = m.app_id
WHERE m.org_id = :org_id AND m.month = :month

-- name: unmetered_between
-- The time between two moments of processes that do not stand in metered_months, by app.
SELECT p.app_id, a.app_name, SUM(p.cpu_millis * (
    CASE WHEN p.stopping_at IS NULL OR p.stopping_at > :until THEN :until ELSE p.stopping_at END
    - CASE WHEN p.started_at < :since THEN :since ELSE p.started_at END)) AS vcpu_us
FROM processes p JOIN apps a ON a.app_id = p.app_id
WHERE p.metered = 0 AND p.started_at IS NOT NULL AND p.org_id = :org_id
  AND p.started_at < :until AND (p.stopping_at IS NULL OR p.stopping_at > :since)
  AND (p.stopping_at IS NULL OR p.stopping_at > p.started_at)
GROUP BY p.app_id, a.app_name

-- name: not_seen_since
-- A process that ran before a moment and was not told to stop, but has not been seen since.
SELECT p.process_id FROM processes p LEFT JOIN process_usage u ON u.process_id = p.process_id
WHERE p.metered = 0 AND p.started_at IS NOT NULL AND p.org_id = :org_id AND p.started_at < :moment
  AND p.stopping_at IS NULL AND (u.seen_at IS NULL OR u.seen_at < :moment) LIMIT 1

-- name: first_month
-- The first month in which an organization used anything that stands in metered_months.
SELECT MIN(month) AS month FROM metered_months WHERE org_id = :org_id

-- name: first_unmetered
-- When the first process started that does not stand there.
SELECT MIN(started_at) AS started_at FROM processes
WHERE metered = 0 AND started_at IS NOT NULL AND org_id = :org_id

-- name: last_closed
-- The last month that an organization has an invoice of.
SELECT MAX(month) AS month FROM invoices WHERE org_id = :org_id

-- name: orgs
-- Every organization.
SELECT org_id FROM orgs ORDER BY org_id

-- name: insert_invoice
-- Close a month, unless it is closed already.
INSERT INTO invoices (invoice_id, org_id, month, closed_at, due_at, amount_micros, credit_micros, paid_at)
VALUES (:invoice_id, :org_id, :month, :closed_at, :due_at, :amount_micros, :credit_micros, NULL)
ON CONFLICT (org_id, month) DO NOTHING

-- name: insert_item
-- One line of an invoice.
INSERT INTO invoice_items (invoice_id, position, app_id, product_name, kind, quantity, price_micros, amount_micros)
VALUES (:invoice_id, :position, :app_id, :product_name, :kind, :quantity, :price_micros, :amount_micros)

-- name: invoices
-- An organization's invoices, newest first: ten years of them at the most.
SELECT invoice_id, org_id, month, closed_at, due_at, amount_micros, credit_micros, paid_at FROM invoices
WHERE org_id = :org_id ORDER BY month DESC LIMIT 120

-- name: invoice
-- One invoice.
SELECT invoice_id, org_id, month, closed_at, due_at, amount_micros, credit_micros, paid_at FROM invoices
WHERE invoice_id = :invoice_id

-- name: items
-- The lines of an invoice.
SELECT app_id, product_name, kind, quantity, price_micros, amount_micros FROM invoice_items
WHERE invoice_id = :invoice_id ORDER BY position

-- name: mark_paid
-- Somebody has paid what was due.
UPDATE invoices SET paid_at = :now WHERE invoice_id = :invoice_id AND org_id = :org_id AND paid_at IS NULL

-- name: credit_used
-- How much of its credit an organization's invoices have used.
SELECT COALESCE(SUM(credit_micros), 0) AS micros FROM invoices WHERE org_id = :org_id
