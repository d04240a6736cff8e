-- rows: id text, account_id uuid, request_id uuid, body_digest text, expires_at timestamptz
-- A row with this id may be overwritten: it has expired, or its process died.
INSERT INTO gateway_idempotentrequest (id, account_id, request_id, body_digest, expires_at)
SELECT r.id, r.account_id, r.request_id, r.body_digest, r.expires_at
FROM {rows}
WHERE true
ON CONFLICT (id) DO UPDATE SET
    request_id = excluded.request_id, body_digest = excluded.body_digest,
    expires_at = excluded.expires_at, completed_at = NULL, answer = NULL
