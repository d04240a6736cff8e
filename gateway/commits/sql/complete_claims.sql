-- rows: id text, request_id uuid, completed_at timestamptz, answer text
-- If the owner of the account was erased in the meantime, no answer is kept.
UPDATE gateway_idempotentrequest AS i
SET completed_at = r.completed_at,
    answer = CASE WHEN a.user_id IS NOT NULL THEN decode(r.answer, 'base64') END
FROM {rows}, billing_creditaccount AS a
WHERE i.id = r.id AND i.request_id = r.request_id AND a.id = i.account_id
