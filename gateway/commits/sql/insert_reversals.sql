-- rows: id uuid, account_id uuid, amount_nano bigint, idempotency_key text, created_at timestamptz
INSERT INTO billing_ledgerentry (id, account_id, kind, amount_nano, idempotency_key, created_at)
SELECT r.id, r.account_id, 'reversal', r.amount_nano, r.idempotency_key, r.created_at
FROM {rows}
