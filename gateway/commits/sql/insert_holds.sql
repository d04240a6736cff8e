-- rows: id uuid, account_id uuid, key_id uuid, price_version_id uuid, amount_nano bigint, process_id uuid, created_at timestamptz, deadline timestamptz
INSERT INTO billing_hold
    (id, account_id, key_id, price_version_id, amount_nano, process_id, created_at, deadline)
SELECT r.id, r.account_id, r.key_id, r.price_version_id, r.amount_nano, r.process_id, r.created_at,
    r.deadline
FROM {rows}
