-- rows: id uuid
SELECT h.id, h.amount_nano
FROM billing_hold AS h
WHERE h.id IN (SELECT r.id FROM {rows})
