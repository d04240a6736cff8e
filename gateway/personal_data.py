"""What the gateway knows of a person; how to read it: `accounts/personal_data.py`."""

PERSONAL_DATA = {
    "gateway.ApiRequest": {
        "person": "account__user",
        "identity": [],
        "content": [],
        "metadata": [
            "created_at",
            "api",
            "streamed",
            "outcome",
            "status",
            "error_type",
            "finish_reason",
            "model",
            "alias",
            "route",
            "provider",
            "price_version",
            "attempts",
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "reasoning_tokens",
            "images",
            "estimated",
            "flagged",
            "hold_nano",
            "cost_nano",
            "loss_nano",
            "upstream_cost_nano",
            "overhead_ms",
            "first_token_ms",
            "latency_ms",
            "session_hash",
            "user_hash",
        ],
        "plain": ["id", "account", "key"],
    },
    # Messages, answer, IP address and user agent, sealed under the person's data key.
    "gateway.RequestContent": {
        "person": ("account_id", "billing.CreditAccount"),
        "identity": [],
        "content": ["sealed"],
        "metadata": ["purge_at"],
        "plain": ["id", "account_id"],
    },
    # Answers kept for a day, sealed under the person's data key.
    "gateway.IdempotentRequest": {
        "person": "account__user",
        "identity": [],
        "content": ["answer"],
        "metadata": ["deadline", "completed_at", "expires_at"],
        "plain": ["id", "account", "request_id", "body_digest"],
    },
}

NO_PERSONAL_DATA = {
    "gateway.Provider": "companies that serve models, and our own keys to them",
    "gateway.Model": "the catalogue of models",
    "gateway.Route": "which provider serves which model at which price",
}
