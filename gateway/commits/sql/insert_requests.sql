-- rows: id uuid, account_id uuid, key_id uuid, created_at timestamptz, api text, streamed boolean, outcome text, status smallint, error_type text, finish_reason text, model text, alias text, route_id uuid, provider text, price_version_id uuid, attempts jsonb, prompt_tokens int, cached_tokens int, completion_tokens int, reasoning_tokens int, images int, estimated boolean, flagged boolean, hold_nano bigint, cost_nano bigint, loss_nano bigint, upstream_cost_nano bigint, overhead_ms float, first_token_ms float, latency_ms float, session_hash text, user_hash text, content_left_out text
INSERT INTO gateway_apirequest (
    id, account_id, key_id, created_at, api, streamed, outcome, status, error_type,
    finish_reason, model, alias, route_id, provider, price_version_id, attempts,
    prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens, images, estimated,
    flagged, hold_nano, cost_nano, loss_nano, upstream_cost_nano, overhead_ms, first_token_ms,
    latency_ms, session_hash, user_hash, content_left_out
)
SELECT
    r.id, r.account_id, r.key_id, r.created_at, r.api, r.streamed, r.outcome, r.status,
    r.error_type, r.finish_reason, r.model, r.alias, r.route_id, r.provider,
    r.price_version_id, r.attempts, r.prompt_tokens, r.cached_tokens, r.completion_tokens,
    r.reasoning_tokens, r.images, r.estimated, r.flagged, r.hold_nano, r.cost_nano,
    r.loss_nano, r.upstream_cost_nano, r.overhead_ms, r.first_token_ms, r.latency_ms,
    r.session_hash, r.user_hash, r.content_left_out
FROM {rows}
WHERE true
ON CONFLICT (id) DO NOTHING
