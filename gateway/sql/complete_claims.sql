-- rows: id text, request_id uuid, completed_at timestamptz, answer text
UPDATE gateway_idempotentrequest AS i
SET completed_at = r.completed_at, answer = decode(r.answer, 'base64')
FROM {rows}
WHERE i.id = r.id AND i.request_id = r.request_id
