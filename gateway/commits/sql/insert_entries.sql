-- rows: id uuid, account_id uuid, amount_nano bigint, request_id uuid, idempotency_key text, created_at timestamptz
INSERT INTO billing_ledgerentry
    (id, account_id, kind, amount_nano, request_id, idempotency_key, created_at)
SELECT r.id, r.account_id, 'usage', r.amount_nano, r.request_id, r.idempotency_key, r.created_at
FROM {rows}
