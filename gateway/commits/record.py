"""The record of one request: it is filled in while the request runs and becomes its log row."""

import dataclasses
import datetime as dt

from billing.pricing import Usage


@dataclasses.dataclass(slots=True)
class RequestRecord:
    """The columns of `ApiRequest`. Ids are 32 hexadecimal digits, amounts are nano-dollars."""

    id: str
    account_id: str
    key_id: str | None
    created_at: dt.datetime
    api: str
    streamed: bool = False
    outcome: str = ""
    status: int = 0
    error_type: str = ""
    finish_reason: str = ""
    model: str = ""
    alias: str = ""
    route_id: str | None = None
    provider: str = ""
    price_version_id: str | None = None
    attempts: list[dict] = dataclasses.field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    estimated: bool = False
    flagged: bool = False
    hold_nano: int = 0
    cost_nano: int = 0
    loss_nano: int = 0
    upstream_cost_nano: int | None = None
    overhead_ms: float | None = None
    first_token_ms: float | None = None
    latency_ms: float | None = None
    session_hash: str = ""
    user_hash: str = ""
    content_left_out: str = ""

    def count(self, usage: Usage) -> None:
        """Set the token counts to those of `usage`."""
        self.prompt_tokens = usage.prompt
        self.cached_tokens = usage.cached
        self.completion_tokens = usage.completion
        self.reasoning_tokens = usage.reasoning
        self.images = usage.images


COLUMNS = tuple(field.name for field in dataclasses.fields(RequestRecord))
