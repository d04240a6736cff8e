"""How much an account may ask per minute: the limits of its tier and of its key, and the headers
that tell how they stand.

    requests   of the account, of the key if it has a rate of its own, of the account to one model
    tokens     of the account: the bound of the prompt and the output limit, at admission
    reads      of the account: everything that asks no provider
    forbidden  of the key, or of who asks without one: what it may not do at all

An unlimited account has none of its own: then only a key's rate counts.

Concurrency isn't among them: it is the number of open holds, checked where money is reserved.
"""

import math
from collections.abc import Iterable, Sequence

from billing.tiers import TIERS
from gateway.access import token_buckets
from gateway.access.authentication import Caller
from gateway.access.token_buckets import Bucket, Level
from gateway.errors import Forbidden, GatewayError, RequestTooLarge, TooManyRequests


async def admit(
    caller: Caller, models: Iterable[str], *, likely_tokens: int, most_tokens: int
) -> dict[str, str]:
    """Count a request and its tokens. Returns headers that say what is left.

    It counts for each of the models that may answer it, fallbacks included.

    Raises TooManyRequests, RequestTooLarge; then nothing was counted.
    """
    if caller.unlimited:
        return await count(caller)
    tier = TIERS[caller.tier]
    if likely_tokens > tier.tokens_per_request:  # The bound would refuse what fits well.
        raise _too_large(caller.tier, likely_tokens)
    buckets = _request_buckets(caller)
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

    Who is forbidden to use a key doesn't use up what its owner may send.
    """
    if not isinstance(refusal, Forbidden):
        await count(caller)
    elif not caller.unlimited:
        whose = caller.key_id or caller.account_id
        await _take(caller, [Bucket(f"forbidden:{whose}", TIERS[caller.tier].requests)])


async def admit_read(caller: Caller) -> dict[str, str]:
    """Count a request that asks no provider. Returns headers as `admit` does.

    Raises TooManyRequests.
    """
    if caller.unlimited:
        return {}
    reads = Bucket(f"reads:{caller.account_id}", TIERS[caller.tier].requests)
    return await _take(caller, [reads])


def _request_buckets(caller: Caller) -> list[Bucket]:
    buckets = []
    if not caller.unlimited:
        buckets.append(Bucket(f"requests:{caller.account_id}", TIERS[caller.tier].requests))
    if caller.requests_per_minute is not None:
        buckets.append(Bucket(f"key_requests:{caller.key_id}", caller.requests_per_minute))
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
        f"This request can take about {tokens:,} tokens; this account may use {limit:,} for one. "
        f"Shorten the prompt or lower `max_tokens`. {_BUY}",
        code="tokens_per_request",
        metadata={"tier": number},
    )


def _headers(requests: Sequence[Level], tokens: Level | None) -> dict[str, str]:
    """How the scarcest of the request limits and the token limit stand, as OpenAI tells it."""
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
    """As OpenAI writes it: 12ms, 1.5s, 1m0s. Rounded up to a millisecond."""
    ms = math.ceil(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms"
    minutes, ms = divmod(ms, 60_000)
    text = f"{ms // 1000}" + (f".{ms % 1000:03}".rstrip("0") if ms % 1000 else "")
    return f"{minutes}m{text}s" if minutes else f"{text}s"
