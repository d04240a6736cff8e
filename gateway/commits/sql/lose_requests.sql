-- rows: id uuid
UPDATE gateway_apirequest
SET outcome = 'lost', error_type = 'server', cost_nano = 0, loss_nano = 0
WHERE id IN (SELECT r.id FROM {rows})
