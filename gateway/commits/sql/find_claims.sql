-- rows: id text, now timestamptz
-- A claim needs no lock: its id is derived from the account, and the account is locked.
SELECT i.id, i.request_id
FROM gateway_idempotentrequest AS i
JOIN {rows} ON r.id = i.id
WHERE (
        i.completed_at IS NULL
        AND EXISTS (SELECT 1 FROM billing_hold AS h WHERE h.id = i.request_id)
    )
    OR (i.completed_at IS NOT NULL AND i.expires_at > r.now)
