-- rows: id text, now timestamptz
-- The account is locked, and a claim's id is made of its account's: no lock of its own is needed.
SELECT i.id, i.request_id
FROM gateway_idempotentrequest AS i
JOIN {rows} ON r.id = i.id
WHERE (i.completed_at IS NULL AND i.deadline > r.now)
    OR (i.completed_at IS NOT NULL AND i.expires_at > r.now)
