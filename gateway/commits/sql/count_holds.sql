-- rows: id uuid
SELECT h.account_id, count(*)
FROM billing_hold AS h
WHERE h.account_id IN (SELECT r.id FROM {rows})
GROUP BY h.account_id
