-- rows: id uuid, balance_nano bigint, held_nano bigint, open_holds int
UPDATE billing_creditaccount AS a
SET balance_nano = r.balance_nano, held_nano = r.held_nano, open_holds = r.open_holds
FROM {rows}
WHERE a.id = r.id
