-- rows: id uuid
DELETE FROM billing_hold WHERE id IN (SELECT r.id FROM {rows})
