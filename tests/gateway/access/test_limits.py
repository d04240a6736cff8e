"""Rate limits as a client meets them: what is left, when it is refused, and for how long."""

import asyncio
import datetime as dt
import time

import anthropic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tiers import TIERS
from gateway.access import limits, token_buckets
from gateway.access.limits import duration
from gateway.access.token_buckets import Twin
from gateway.dialects.anthropic.api import limit_headers
from gateway.errors import Forbidden, TooManyRequests
from tests.gateway.conftest import live_route
from tests.support.factories import make_caller, make_key
from tests.support.gateway.anthropic_clients import asked, client_of
from tests.support.gateway.limited import (
    MOST,
    admitted,
    ask_both,
    codes,
    flowed_in,
    statuses,
    until_refused,
)
from tests.support.gateway.receipts import END, HELLO, refused
from tests.support.live import Customer, Gateway, eventually
from tests.support.provider.scripts import Head, answer
from tests.support.valkey import Valkey

FREE = TIERS[0]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def _pair(valkey, django_db_setup, django_db_blocker):
    """Two processes that share their limits through Redis, and each half of them without it."""
    options = {"REDIS_URL": valkey.url, "WEB_PROCESSES": "2"}
    with django_db_blocker.unblock(), Gateway(**options) as one, Gateway(**options) as other:
        yield one, other


@pytest.fixture
def pair(_pair, scripted):
    return _pair


@pytest.fixture
def say(fake) -> str:
    """A prompt that is answered at once, over and over."""
    return fake.script(answer("Hi", prompt_tokens=3, completion_tokens=1))


@pytest.fixture
def still_buckets(monkeypatch):
    """Full buckets in this process alone, for which time stands still."""
    twin = Twin()

    async def take(buckets):
        return twin.take(buckets, 0.0)

    monkeypatch.setattr(token_buckets, "take", take)


# --- Without a network


def test_the_token_limit_counts_the_most_tokens(still_buckets):
    admitting = limits.admit(make_caller(), ["m"], likely_tokens=100, most_tokens=3000)
    headers = asyncio.run(admitting)
    assert headers["x-ratelimit-remaining-tokens"] == str(FREE.tokens - 3000)


def test_a_forbidden_key_uses_up_nothing_of_the_accounts_other_keys(still_buckets):
    def refuse(key_id: str | None) -> None:
        asyncio.run(limits.count_refusal(make_caller(key_id=key_id), Forbidden("No.")))

    for _ in range(FREE.requests):
        refuse("forbidden")
    with pytest.raises(TooManyRequests):
        refuse("forbidden")
    refuse("other")
    refuse(None)


def test_an_address_without_a_key_may_ask_only_so_often(still_buckets, settings):
    settings.API_REQUESTS_PER_MINUTE = {"address": 2}
    asked = ["2001:db8::1", "2001:db8::2", "192.0.2.1"]  # The first two are one client.
    remaining = [asyncio.run(limits.admit_keyless(ip)) for ip in asked]
    assert [one["x-ratelimit-remaining-requests"] for one in remaining] == ["1", "0", "1"]
    with pytest.raises(TooManyRequests, match="Send a key: ") as refusal:
        asyncio.run(limits.admit_keyless("2001:db8::3"))
    assert (refusal.value.code, refusal.value.metadata) == ("keyless_per_minute", {})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0121, "13ms"), (1, "1s"), (1.5, "1.5s"), (59.9999, "1m0s"), (360, "6m0s")],
)
def test_a_duration_is_written_as_openai_does(seconds, text):
    assert duration(seconds) == text


@given(
    seconds=st.floats(0, 7200),
    now=st.floats(1.7e9, 4e9).map(lambda moment: dt.datetime.fromtimestamp(moment, dt.UTC)),
)
def test_a_reset_is_a_moment_for_anthropics_clients_never_too_early(seconds, now):
    told = {
        "x-ratelimit-limit-tokens": "9",
        "x-ratelimit-remaining-tokens": "8",
        "x-ratelimit-reset-tokens": duration(seconds),
    }
    headers = limit_headers(told, now)
    reset = dt.datetime.fromisoformat(headers.pop("anthropic-ratelimit-tokens-reset"))
    early_by = (now - reset).total_seconds() + seconds
    assert -1.002 < early_by < 1e-5  # A clock of floats knows microseconds.
    assert headers == {
        "anthropic-ratelimit-tokens-limit": "9",
        "anthropic-ratelimit-tokens-remaining": "8",
    }


# --- One process


def test_an_answer_says_how_the_limits_stand(pair, say):
    customer = Customer(pair[0])
    model, began = FREE.model_requests, time.monotonic()
    for left in (model - 1, model - 2):
        headers = customer.ask(say, max_tokens=10).headers
        assert headers["x-ratelimit-limit-requests"] == str(model)
        told = int(headers["x-ratelimit-remaining-requests"])
        assert left <= told < left + flowed_in(model, began)
        assert headers["x-ratelimit-reset-requests"].endswith("s")
        assert headers["x-ratelimit-limit-tokens"] == str(FREE.tokens)
        used = FREE.tokens - int(headers["x-ratelimit-remaining-tokens"])
        assert used > 10  # The bound of the prompt and the output limit.


def test_a_refusal_says_when_to_come_back_and_that_is_true(pair, say):
    customer = Customer(pair[0])
    customer.key, customer.key_text = make_key(customer.user, requests_per_minute=60)
    began = time.monotonic()
    found = until_refused(lambda: customer.ask(say, max_tokens=1))
    assert admitted(found, FREE.model_requests, began)
    assert set(statuses(found)) == {200, 429}
    response = found[-1]
    error = refused(response, 429, "rate_limit_exceeded")
    assert error["code"] == "model_requests_per_minute"
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    wait_s = int(response.headers["Retry-After"])
    assert 1 <= wait_s <= 60 / FREE.model_requests + 1
    assert int(response.headers["retry-after-ms"]) <= wait_s * 1000
    time.sleep(wait_s)  # As a client does: that this is long enough is what is tested.
    assert customer.ask(say, max_tokens=1).status_code == 200


def test_a_key_may_have_a_rate_of_its_own(pair, say):
    customer = Customer(pair[0])
    customer.key, customer.key_text = make_key(customer.user, requests_per_minute=2)
    assert [customer.ask(say).status_code for _ in range(3)] == [200, 200, 429]
    assert customer.ask(say).json()["error"]["code"] == "key_requests_per_minute"
    customer.key, customer.key_text = make_key(customer.user)
    assert customer.ask(say).status_code == 200


def test_another_model_has_a_limit_of_its_own_within_the_accounts(pair, say, fake):
    live_route("scripted-two", fake.base_url)
    customer, tier = Customer(pair[0], tier=1), TIERS[1]
    began = time.monotonic()
    first = ask_both(pair, customer, 60, say)
    assert codes(first) == {"model_requests_per_minute"}
    assert admitted(first, tier.model_requests, began)
    second = ask_both(pair, customer, 60, say, model="scripted-two")
    assert codes(second) == {"requests_per_minute"}
    assert admitted(first + second, tier.requests, began)
    assert set(statuses(first + second)) == {200, 429}


def test_tokens_are_counted_when_they_are_asked_for(pair, say, fake):
    live_route("roomy", fake.base_url)
    from gateway.models import Model

    Model.objects.filter(slug="roomy").update(context_length=1_000_000)
    customer = Customer(pair[0], balance_nano=10**12)
    first = customer.ask(say, model="roomy", max_tokens=150_000)
    assert first.status_code == 200
    response = customer.ask(say, model="roomy", max_tokens=150_000)
    assert refused(response, 429, "rate_limit_exceeded")["code"] == "tokens_per_minute"
    assert customer.ask(say, model="roomy", max_tokens=20_000).status_code == 200


def test_one_request_may_not_take_more_tokens_than_its_tier_allows(pair, say, fake):
    live_route("roomy", fake.base_url)
    from gateway.models import Model

    Model.objects.filter(slug="roomy").update(context_length=1_000_000)
    customer = Customer(pair[0], balance_nano=10**12)
    response = customer.ask(say, model="roomy", max_tokens=FREE.tokens_per_request)
    assert refused(response, 413, "payload_too_large")["code"] == "tokens_per_request"
    assert customer.settled_request().status == 413


def test_a_fallback_counts_for_its_own_model_too(pair, say, fake):
    live_route("scripted-two", fake.base_url)
    customer = Customer(pair[0])
    limit, began = FREE.model_requests, time.monotonic()
    both = until_refused(lambda: customer.ask(say, models=["scripted-two"], max_tokens=1))
    alone = until_refused(lambda: customer.ask(say, model="scripted-two", max_tokens=1))
    assert admitted([*both, *alone], limit, began)
    assert codes(alone) == {"model_requests_per_minute"}


def test_who_is_forbidden_to_use_a_key_uses_up_nothing_of_its_owners(pair, say):
    customer = Customer(pair[0])
    own = customer.key_text
    _, customer.key_text = make_key(customer.user, allowed_networks=["192.0.2.1"])
    began = time.monotonic()
    asked = until_refused(lambda: customer.ask(say))
    assert set(statuses(asked)) == {403, 429}
    read = until_refused(lambda: customer.get("/v1/credits/balance"))
    assert admitted([*asked, *read], FREE.requests, began)
    customer.key_text = own
    assert customer.ask(say).status_code == 200


def test_requests_in_vain_count_too(pair):
    customer = Customer(pair[0])
    began = time.monotonic()
    found = until_refused(lambda: customer.ask("", model="no such model"))
    assert admitted(found, FREE.requests, began)
    assert set(statuses(found)) == {404, 429}


def test_reads_have_a_limit_of_their_own(pair, say):
    customer = Customer(pair[0])
    began = time.monotonic()
    found = until_refused(lambda: customer.get("/v1/credits/balance"))
    assert admitted(found, FREE.requests, began)
    assert set(statuses(found)) == {200, 429}
    left = [int(one.headers["x-ratelimit-remaining-requests"]) for one in found]
    assert left[0] == FREE.requests - 1
    assert left[-1] == 0
    assert {one.headers["x-ratelimit-limit-requests"] for one in found} == {str(FREE.requests)}
    assert customer.ask(say).status_code == 200


def test_an_unlimited_account_has_no_limits_and_no_headers(pair, say):
    customer = Customer(pair[0], unlimited=True)
    responses = ask_both(pair, customer, FREE.requests + 10, say)
    assert statuses(responses) == [200] * (FREE.requests + 10)
    assert not [name for name in responses[0].headers if name.startswith("x-ratelimit")]


def test_a_key_of_an_unlimited_account_keeps_to_a_rate_of_its_own(pair, say):
    customer = Customer(pair[0], unlimited=True)
    customer.key, customer.key_text = make_key(customer.user, requests_per_minute=2)
    answers = [customer.ask(say) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert [one.headers["x-ratelimit-remaining-requests"] for one in answers] == ["1", "0", "0"]
    assert answers[-1].json()["error"]["code"] == "key_requests_per_minute"


def test_anthropics_clients_read_a_refusal_too(pair, say):
    customer = Customer(pair[0])
    customer.key, customer.key_text = make_key(customer.user, requests_per_minute=1)
    customer.ask(say)
    began_at = time.time()
    with client_of(customer) as client, pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**asked(say, max_tokens=1))
    headers = caught.value.response.headers
    assert caught.value.type == "rate_limit_error"
    assert 1 <= int(headers["retry-after"]) <= 60
    assert told_to_anthropic(headers, "requests") == (1, 0)
    reset_s = seconds_until(headers["anthropic-ratelimit-requests-reset"], began_at)
    assert 0 < reset_s <= 61 + (time.time() - began_at)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_says_how_the_limits_stand_to_anthropics_clients(pair, fake, stream):
    customer, began_at = Customer(pair[0]), time.time()
    prompt = fake.script([Head(), HELLO, *END] if stream else answer("Hi"))
    with client_of(customer) as client:
        raw = client.messages.with_raw_response.create(**asked(prompt, stream=stream))
        headers = raw.headers
        raw.parse()
    assert told_to_anthropic(headers, "requests") == (FREE.model_requests, FREE.model_requests - 1)
    limit, left = told_to_anthropic(headers, "tokens")
    assert (limit, str(left)) == (FREE.tokens, headers["x-ratelimit-remaining-tokens"])
    for kind in ("requests", "tokens"):
        reset_s = seconds_until(headers[f"anthropic-ratelimit-{kind}-reset"], began_at)
        assert 0 < reset_s <= 5 + (time.time() - began_at)


def test_only_messages_are_answered_as_anthropic_does(pair, say):
    customer = Customer(pair[0])
    told = customer.ask(say).headers
    customer.key, customer.key_text = make_key(customer.user, requests_per_minute=1)
    told = [*told, *customer.ask(say).headers, *customer.ask(say).headers]
    assert [name for name in told if name.startswith("x-ratelimit")]
    assert not [name for name in told if name.startswith("anthropic")]


def test_a_count_of_tokens_that_is_refused_says_so_to_anthropics_clients(pair):
    customer = Customer(pair[0])
    question = {"model": "scripted", "messages": [{"role": "user", "content": "Hello"}]}
    with client_of(customer) as client:
        began = time.monotonic()
        raw = client.messages.with_raw_response.count_tokens(**question)
        assert told_to_anthropic(raw.headers, "requests") == (FREE.requests, FREE.requests - 1)
        counted = [raw.parse()]

        def count_on() -> None:
            while len(counted) < MOST:
                counted.append(client.messages.count_tokens(**question))

        with pytest.raises(anthropic.RateLimitError) as caught:
            count_on()
    assert FREE.requests <= len(counted) <= FREE.requests + flowed_in(FREE.requests, began)
    assert told_to_anthropic(caught.value.response.headers, "requests") == (FREE.requests, 0)


def told_to_anthropic(headers, kind: str) -> tuple[int, int]:
    """The limit, and what is left of it."""
    limit, left = (headers[f"anthropic-ratelimit-{kind}-{what}"] for what in ("limit", "remaining"))
    return int(limit), int(left)


def seconds_until(moment: str, since: float) -> float:
    assert moment.endswith("Z")  # RFC 3339, in UTC.
    return dt.datetime.fromisoformat(moment).timestamp() - since


# --- Two processes


def test_two_processes_together_admit_exactly_the_limit(pair, say):
    customer, limit = Customer(pair[0], tier=2), TIERS[2].model_requests
    began = time.monotonic()
    found = ask_both(pair, customer, 2 * limit, say)
    assert admitted(found, limit, began)
    assert set(statuses(found)) == {200, 429}


def test_without_redis_each_process_admits_its_share_and_nothing_fails(pair, valkey, say):
    customer = Customer(pair[0])
    share = FREE.model_requests // 2
    valkey.stop()
    try:
        alone = customer.at(pair[0])
        began = time.monotonic()
        found = until_refused(lambda: alone.ask(say, max_tokens=1))
        assert admitted(found, share, began)
        assert set(statuses(found)) == {200, 429}
    finally:
        valkey.start()
    other = Customer(pair[0])  # Both find Redis again by themselves, within a second or two.
    eventually(lambda: other.ask(say).headers.get("x-ratelimit-limit-requests") == "25")


def test_a_flushed_redis_only_fills_the_buckets(pair, valkey, say):
    customer = Customer(pair[0])
    customer.key, customer.key_text = make_key(customer.user, requests_per_minute=1)
    assert [customer.ask(say).status_code for _ in range(2)] == [200, 429]
    valkey.ask("FLUSHALL")
    valkey.ask("SCRIPT", "FLUSH")
    assert [customer.ask(say).status_code for _ in range(2)] == [200, 429]
