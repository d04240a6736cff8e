-- rows: id uuid
SELECT q.id, q.outcome, q.cost_nano
FROM gateway_apirequest AS q
WHERE q.id IN (SELECT r.id FROM {rows})
