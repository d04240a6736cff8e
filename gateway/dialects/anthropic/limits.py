"""How the rate limits stand, as Anthropic's clients read it: beside what OpenAI's are told."""

import datetime as dt
import math
import re
from collections.abc import Mapping

_DURATION = re.compile(r"(?:(?P<m>\d+)m)?(?:(?P<s>[\d.]+)s)?(?:(?P<ms>\d+)ms)?")


def limit_headers(told: Mapping[str, str], now: dt.datetime) -> dict[str, str]:
    """`anthropic-ratelimit-*` for each of the `x-ratelimit-*` in `told`, which is what
    gateway.access.limits says; a reset becomes the first whole second at which all is there again.
    """
    headers = {}
    for kind in ("requests", "tokens"):
        if limit := told.get(f"x-ratelimit-limit-{kind}"):
            name = f"anthropic-ratelimit-{kind}"
            headers[f"{name}-limit"] = limit
            headers[f"{name}-remaining"] = told[f"x-ratelimit-remaining-{kind}"]
            headers[f"{name}-reset"] = _moment(told[f"x-ratelimit-reset-{kind}"], now)
    return headers


def _moment(duration: str, now: dt.datetime) -> str:
    """RFC 3339, in UTC."""
    seconds = math.ceil(now.timestamp() + _seconds(duration))
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(duration: str) -> float:
    """What gateway.access.limits.duration wrote: 12ms, 1.5s, 1m0s."""
    found = _DURATION.fullmatch(duration)
    assert found is not None, duration
    minutes, seconds, ms = (float(part or 0) for part in found.groups())
    return minutes * 60 + seconds + ms / 1000
