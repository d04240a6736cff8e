-- rows: id uuid
-- A key needs no lock: it belongs to one account, and the account is locked.
SELECT s.key_id, s.held_nano, s.total_nano, s.day_nano, s.week_nano, s.month_nano,
    CAST(s.day AS text), CAST(s.week AS text), CAST(s.month AS text),
    s.total_cap_nano, s.day_cap_nano, s.week_cap_nano, s.month_cap_nano, CAST({today} AS text)
FROM billing_keyspend AS s
WHERE s.key_id IN (SELECT r.id FROM {rows})
