-- rows: id uuid
-- Locks in the order of the ids, so that two batches never wait for each other.
SELECT a.id, a.balance_nano, a.held_nano, a.owed_nano, a.tier, a.unlimited, a.user_id
FROM billing_creditaccount AS a
WHERE a.id IN (SELECT r.id FROM {rows})
ORDER BY a.id
{for_update}
