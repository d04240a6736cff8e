-- rows: id uuid, account_id uuid, sealed text, purge_at timestamptz
INSERT INTO gateway_requestcontent (id, account_id, sealed, purge_at)
SELECT r.id, r.account_id, decode(r.sealed, 'base64'), r.purge_at
FROM {rows}
