"""Requests that a route served, and pages that tell of them."""

import datetime as dt

from billing.models import CreditAccount
from gateway.analytics import rollups
from gateway.models import ApiRequest, Route
from tests.support.factories import make_request

MINUTE = dt.timedelta(minutes=1)


def serve(
    route: Route,
    account: CreditAccount,
    count: int = 1,
    *,
    at: dt.datetime | None = None,
    fault: str | None = None,
    first_ms: float = 200.0,
    writing_ms: float = 1000.0,
    tokens: int = 100,
    **fields,
) -> list[ApiRequest]:
    """`count` streams of `route`, each of which ended well or by `fault`."""
    status = 200 if fault is None else 500
    attempt = {"route": route.id.hex, "provider": route.provider.slug, "status": status}
    attempt |= {"ms": first_ms} if fault is None else {"ms": first_ms, "error": fault}
    ended = {"outcome": "finished"} if fault is None else {"outcome": "upstream-failed"}
    return [
        make_request(
            account,
            at or dt.datetime.now(dt.UTC) - MINUTE,
            **{
                "model": route.model.slug,
                "route": route if fault is None else None,
                "provider": route.provider.slug if fault is None else "",
                "price_version": route.price_version,
                "attempts": [attempt],
                "streamed": True,
                "status": status,
                "completion_tokens": tokens,
                "first_token_ms": first_ms + 5,
                "latency_ms": first_ms + 5 + writing_ms,
                **ended,
                **fields,
            },
        )
        for _ in range(count)
    ]


def folded() -> None:
    """Bring the public figures up to date."""
    rollups.rebuild()
