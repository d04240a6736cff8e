-- rows: key_id uuid, held_nano bigint, total_nano bigint, day date, day_nano bigint, week date, week_nano bigint, month date, month_nano bigint
INSERT INTO billing_keyspend
    (key_id, held_nano, total_nano, day, day_nano, week, week_nano, month, month_nano)
SELECT r.key_id, r.held_nano, r.total_nano, r.day, r.day_nano, r.week, r.week_nano, r.month,
    r.month_nano
FROM {rows}
WHERE true
ON CONFLICT (key_id) DO UPDATE SET
    held_nano = excluded.held_nano, total_nano = excluded.total_nano,
    day = excluded.day, day_nano = excluded.day_nano,
    week = excluded.week, week_nano = excluded.week_nano,
    month = excluded.month, month_nano = excluded.month_nano
