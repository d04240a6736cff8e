-- rows: id text, request_id uuid, completed_at timestamptz, answer text
DELETE FROM gateway_idempotentrequest
WHERE (id, request_id) IN (SELECT r.id, r.request_id FROM {rows})
