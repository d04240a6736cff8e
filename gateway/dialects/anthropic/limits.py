"""The rate limits as headers for Anthropic's clients, sent beside the ones for OpenAI's."""

import datetime as dt
import math
import re
from collections.abc import Mapping

_DURATION = re.compile(r"(?:(?P<m>\d+)m)?(?:(?P<s>[\d.]+)s)?(?:(?P<ms>\d+)ms)?")


def limit_headers(stated: Mapping[str, str], now: dt.datetime) -> dict[str, str]:
    """Return an `anthropic-ratelimit-*` header for each `x-ratelimit-*` header.

    gateway.access.limits writes the latter. A reset becomes the first whole second at which the
    limit is full again.
    """
    headers = {}
    for kind in ("requests", "tokens"):
        if limit := stated.get(f"x-ratelimit-limit-{kind}"):
            name = f"anthropic-ratelimit-{kind}"
            headers[f"{name}-limit"] = limit
            headers[f"{name}-remaining"] = stated[f"x-ratelimit-remaining-{kind}"]
            headers[f"{name}-reset"] = _moment(stated[f"x-ratelimit-reset-{kind}"], now)
    return headers


def _moment(duration: str, now: dt.datetime) -> str:
    """Return the time when `duration` is over, as RFC 3339 in UTC."""
    seconds = math.ceil(now.timestamp() + _seconds(duration))
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(duration: str) -> float:
    """Read a duration as gateway.access.limits.duration writes it: 12ms, 1.5s, 1m0s."""
    found = _DURATION.fullmatch(duration)
    assert found is not None, duration
    minutes, seconds, ms = (float(part or 0) for part in found.groups())
    return minutes * 60 + seconds + ms / 1000
