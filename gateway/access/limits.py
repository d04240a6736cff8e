"""Limits per minute, by the tier of an account and by its key, and the headers that report them.

    requests   per account, per key that has a rate of its own, and per account and model
    tokens     per account: the prompt's upper bound plus the output limit, counted at admission
    reads      per account: requests that reach no provider
    forbidden  per key, or per account without a key: requests for something it may never do

An unlimited account has no limits of its own: only its keys' rates count.

Concurrency isn't limited here: it is the number of open holds, checked where money is reserved.
"""

import math
from collections.abc import Iterable, Sequence

from billing.tiers import TIERS
from gateway.access import token_buckets
from gateway.access.authentication import Caller
from gateway.access.token_buckets import Bucket, Level
from gateway.errors import Forbidden, GatewayError, RequestTooLarge, TooManyRequests


async def admit(
    caller: Caller,
    models: Iterable[str],
    *,
    likely_tokens: int,
    most_tokens: int,
    is_counted: bool = False,
) -> dict[str, str]:
    """Count a request and its tokens. Returns headers with what is left.

    The request counts for each of the models that may answer it, fallbacks included. With
    `is_counted` it was counted by `count` before, so that now only models and tokens count.

    Raises TooManyRequests or RequestTooLarge; then nothing was counted here.
    """
    requests = 0 if is_counted else 1
    if caller.unlimited:
        return await _take(caller, _request_buckets(caller, requests))
    tier = TIERS[caller.tier]
    # `most_tokens` is an upper bound and would refuse requests that fit.
    if likely_tokens > tier.tokens_per_request:
        raise _too_large(caller.tier, likely_tokens)
    buckets = _request_buckets(caller, requests)
    for model in models:
        name = f"model_requests:{caller.account_id}:{model}"
        buckets.append(Bucket(name, tier.model_requests))
    buckets.append(Bucket(f"tokens:{caller.account_id}", tier.tokens, most_tokens))
    levels = await token_buckets.take(buckets)
    headers = _headers(levels[:-1], levels[-1])
    _check(caller, buckets, levels, headers)
    return headers


async def count(caller: Caller) -> dict[str, str]:
    """Count a request, whether or not it reaches a model. Returns headers as `admit` does.

    Raises TooManyRequests.
    """
    return await _take(caller, _request_buckets(caller))


async def count_refusal(caller: Caller, refusal: GatewayError) -> None:
    """Count a request that was refused before it was counted. Raises TooManyRequests.

    Forbidden requests have a limit of their own, so that they don't use up the owner's.
    """
    if not isinstance(refusal, Forbidden):
        await count(caller)
    elif not caller.unlimited:
        whose = caller.key_id or caller.account_id
        await _take(caller, [Bucket(f"forbidden:{whose}", TIERS[caller.tier].requests)])


async def admit_read(caller: Caller) -> dict[str, str]:
    """Count a request that reaches no provider. Returns headers as `admit` does.

    Raises TooManyRequests.
    """
    if caller.unlimited:
        return {}
    reads = Bucket(f"reads:{caller.account_id}", TIERS[caller.tier].requests)
    return await _take(caller, [reads])


def _request_buckets(caller: Caller, requests: int = 1) -> list[Bucket]:
    buckets = []
    if not caller.unlimited:
        per_minute = TIERS[caller.tier].requests
        buckets.append(Bucket(f"requests:{caller.account_id}", per_minute, requests))
    if caller.requests_per_minute is not None:
        per_minute = caller.requests_per_minute
        buckets.append(Bucket(f"key_requests:{caller.key_id}", per_minute, requests))
    return buckets


async def _take(caller: Caller, buckets: list[Bucket]) -> dict[str, str]:
    if not buckets:
        return {}
    levels = await token_buckets.take(buckets)
    headers = _headers(levels, None)
    _check(caller, buckets, levels, headers)
    return headers


def _check(
    caller: Caller, buckets: list[Bucket], levels: list[Level], headers: dict[str, str]
) -> None:
    scarcest = max(range(len(levels)), key=lambda i: levels[i].wait_s)
    wait_s = levels[scarcest].wait_s
    if not wait_s:
        return
    kind, per_minute = buckets[scarcest].name.partition(":")[0], levels[scarcest].capacity
    seconds = math.ceil(wait_s)
    raise TooManyRequests(
        f"{_WHOSE[kind]} {per_minute:,} {_OF_WHAT.get(kind, 'requests')} per minute, and they are "
        f"used up: try again in {seconds} s. {_HIGHER.get(kind, _BUY)}",
        retry_after_s=seconds,
        code=f"{kind}_per_minute",
        headers={**headers, "retry-after-ms": str(math.ceil(wait_s * 1000))},
        metadata={"tier": caller.tier},
    )


_WHOSE = {
    "requests": "This account may send",
    "model_requests": "To one model this account may send",
    "key_requests": "This key may send",
    "tokens": "This account may use",
    "reads": "This account may send",
    "forbidden": "With this key one may send",
}
_OF_WHAT = {
    "tokens": "tokens (prompt and `max_tokens` together)",
    "reads": "requests that ask no model",
    "forbidden": "requests that are forbidden",
}
_BUY = "Limits rise with what an account has bought: GET /v1/limits/tiers."
_HIGHER = {"key_requests": "Its owner has set that rate."}


def _too_large(number: int, tokens: int) -> RequestTooLarge:
    limit = TIERS[number].tokens_per_request
    return RequestTooLarge(
        f"This request can take about {tokens:,} tokens; this account may use {limit:,} per "
        f"request. Shorten the prompt or lower `max_tokens`. {_BUY}",
        code="tokens_per_request",
        metadata={"tier": number},
    )


def _headers(requests: Sequence[Level], tokens: Level | None) -> dict[str, str]:
    """Return OpenAI's headers for the token limit and the scarcest of the request limits."""
    scarcest = min(requests, key=lambda one: one.remaining)
    headers = _header_group("requests", scarcest)
    return headers if tokens is None else headers | _header_group("tokens", tokens)


def _header_group(kind: str, level: Level) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{kind}": str(level.capacity),
        f"x-ratelimit-remaining-{kind}": str(level.remaining),
        f"x-ratelimit-reset-{kind}": duration(level.full_in_s),
    }


def duration(seconds: float) -> str:
    """Write a duration like OpenAI (12ms, 1.5s, 1m0s), rounded up to a millisecond."""
    ms = math.ceil(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    text = f"{ms // 1000}" + (f".{ms % 1000:03}".rstrip("0") if ms % 1000 else "")
    return f"{minutes}m{text}s" if minutes else f"{text}s"
