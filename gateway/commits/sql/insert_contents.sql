-- rows: id uuid, account_id uuid, sealed text, purge_at timestamptz
-- If the owner of the account was erased in the meantime, no content is kept.
INSERT INTO gateway_requestcontent (id, account_id, sealed, purge_at)
SELECT r.id, r.account_id, decode(r.sealed, 'base64'), r.purge_at
FROM {rows}
JOIN billing_creditaccount AS a ON a.id = r.account_id AND a.user_id IS NOT NULL
WHERE true
ON CONFLICT (id) DO NOTHING
