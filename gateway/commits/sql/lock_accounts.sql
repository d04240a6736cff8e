-- rows: id uuid
-- Accounts are locked in the order of their ids, so that two batches never deadlock.
SELECT a.id, a.balance_nano, a.held_nano, a.owed_nano, a.open_holds, a.tier,
    a.unlimited, a.user_id
FROM billing_creditaccount AS a
WHERE a.id IN (SELECT r.id FROM {rows})
ORDER BY a.id
{for_update}
