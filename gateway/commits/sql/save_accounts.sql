-- rows: id uuid, balance_nano bigint, held_nano bigint
UPDATE billing_creditaccount AS a
SET balance_nano = r.balance_nano, held_nano = r.held_nano
FROM {rows}
WHERE a.id = r.id
