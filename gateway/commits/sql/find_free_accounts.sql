-- rows: id uuid
-- Only Postgres locks single accounts, so SQLite never runs this.
SELECT a.id
FROM billing_creditaccount AS a
WHERE a.id IN (SELECT r.id FROM {rows})
FOR NO KEY UPDATE SKIP LOCKED
