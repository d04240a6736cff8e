"""What a new process knows of its routes: what the log tells of the last minutes."""

import asyncio
import datetime as dt
import time
import uuid

from django.db import OperationalError
from django.utils import timezone

from accounts.ids import first_id_at, uuid7
from gateway.analytics import history
from gateway.analytics.history import attempts_of, read, replay
from gateway.models import ApiRequest, Route
from gateway.routing import health as route_health
from gateway.routing.health import RouteHealth
from tests.gateway.conftest import live_route
from tests.support.factories import make_price, make_provider, make_route
from tests.support.gateway.receipts import TEXT
from tests.support.live import Customer, Gateway, eventually
from tests.support.provider.scripts import Pause, error, stream

NOW = timezone.now()


def ago(seconds: float) -> dt.datetime:
    return NOW - dt.timedelta(seconds=seconds)


def failing(route: str = "r", fault: str = "faulty", ms: float = 0.0) -> dict:
    return {"provider": "p", "route": route, "status": 500, "error": fault, "ms": ms}


def answering(route: str = "r", ms: float = 100.0) -> dict:
    return {"provider": "p", "route": route, "status": 200, "ms": ms}


def health_after(*requests: tuple[dt.datetime, bool, list[dict]]) -> dict[str, RouteHealth]:
    return replay((one for request in requests for one in attempts_of(*request)), NOW)


# --- The replay ----------------------------------------------------------------------------------


def test_a_route_that_has_just_failed_twenty_times_is_open():
    health = health_after(*[(ago(1), False, [failing()])] * 20)["r"]
    assert health.is_open(time.monotonic())
    assert not health_after(*[(ago(1), False, [failing()])] * 19)["r"].is_open(time.monotonic())


def test_a_route_whose_next_probe_is_due_may_be_probed():
    health = health_after(*[(ago(60), False, [failing()])] * 20)["r"]
    now = time.monotonic()
    assert not health.is_open(now)
    health.begin(now)
    assert health.is_open(now)


def test_a_route_that_has_answered_since_is_closed():
    requests = [(ago(1), False, [answering()])] + [(ago(9), False, [failing()])] * 20
    assert not health_after(*requests)["r"].is_open(time.monotonic())


def test_two_attempts_may_end_in_the_same_moment():
    """A whole answer has no latency, which can't be compared with that of a stream."""
    requests = [(ago(1), False, [answering()]), (ago(1), True, [answering()])]
    assert health_after(*requests)["r"].latency_ms == 100


def test_failures_over_minutes_do_not_add_up():
    requests = [(ago(300 - 10 * number), False, [failing()]) for number in range(30)]
    assert not health_after(*requests)["r"].is_open(time.monotonic())


def test_what_was_the_requests_own_fault_or_nobodys_does_not_count():
    given_up = {"provider": "p", "route": "r", "status": None, "ms": 5.0}
    requests = [(ago(1), False, [failing(fault="declined")]), (ago(1), True, [given_up])]
    assert health_after(*requests * 20) == {}


def test_the_latency_is_the_average_of_streams_as_this_process_would_have_kept_it():
    requests = [
        (ago(3), True, [answering(ms=100)]),
        (ago(2), True, [failing("other", ms=900), answering(ms=200)]),
        (ago(1), False, [answering(ms=5000)]),
    ]
    found = health_after(*requests)
    assert found["r"].latency_ms == 120
    assert found["other"].latency_ms is None


def test_a_request_of_the_future_is_one_of_now():
    found = health_after(*[(ago(-3600), False, [failing()])] * 20)
    assert found["r"].is_open(time.monotonic() + 1)
    assert not found["r"].is_open(time.monotonic() + 11)


def test_what_this_process_has_seen_itself_is_kept():
    route_id = uuid.uuid4().hex
    own = route_health.of(route_id)
    route_health.begin_with({route_id: RouteHealth(latency_ms=1.0)})
    assert route_health.of(route_id) is own
    fresh = uuid.uuid4().hex
    route_health.begin_with({fresh: RouteHealth(latency_ms=1.0)})
    assert route_health.of(fresh).latency_ms == 1.0


# --- The log -------------------------------------------------------------------------------------


def log(user, at: dt.datetime, attempts: list[dict], **fields) -> None:
    ApiRequest.objects.create(
        id=uuid.UUID(int=first_id_at(at).int | (uuid7().int & (1 << 62) - 1)),
        account=user.credit_account,
        created_at=at,
        outcome="finished",
        status=200,
        attempts=attempts,
        **fields,
    )


def test_only_the_last_minutes_are_read(alice):
    now, price = timezone.now(), make_price()
    for minutes, route in ((11, "old"), (9, "recent")):
        at = now - dt.timedelta(minutes=minutes)
        log(alice, at, [answering(route)], streamed=True, price_version=price)
    assert {route: one.latency_ms for route, one in read().items()} == {"recent": 100}


def test_only_the_newest_rows_are_read_and_none_that_tried_nothing(monkeypatch, alice):
    monkeypatch.setattr(history, "MOST_ROWS", 2)
    now, price = timezone.now(), make_price()
    for seconds in (3, 2, 1):
        at = now - dt.timedelta(seconds=seconds)
        log(alice, at, [answering(f"{seconds} ago")], price_version=price)
    log(alice, now, [])
    assert read().keys() == {"2 ago", "1 ago"}


# --- A new process -------------------------------------------------------------------------------


def pair_at(fake) -> tuple[str, str, str]:
    """A model and its two providers, of which the first is cheaper by a twentieth."""
    slug = f"pair-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.base_url)
    other = make_provider(f"{slug}-2", base_url=fake.base_url, self_hosted=True)
    price = make_price(input_nano=105_000_000, output_nano=420_000_000)
    make_route(slug, provider=other, price=price)
    return slug, slug, other.slug


def first_choice(gateway: Gateway, model: str) -> str:
    response = Customer(gateway).ask("hello", model=model)
    assert response.headers["x-kyma-attempts"] == "1"
    return response.headers["x-kyma-provider"]


def ask_only(customer: Customer, provider: str, prompt: str, **fields) -> None:
    wish = {"only": [provider]}
    assert customer.ask(prompt, provider=wish, **fields).content


def test_a_new_process_goes_by_speed_by_failures_and_without_a_history_by_price(gateway, fake):
    timed, slow, fast = pair_at(fake)
    failed, failing_one, other = pair_at(fake)
    unknown, cheaper, _ = pair_at(fake)
    serve_at_two_speeds(gateway, fake, timed, slow=slow, fast=fast)
    fail_just_now(gateway, fake, failed, failing_one)
    assert Route.objects.filter(model__slug=unknown).count() == 2
    with Gateway() as fresh:
        assert first_choice(fresh, timed) == fast
        assert first_choice(fresh, failed) == other
        assert first_choice(fresh, unknown) == cheaper


def serve_at_two_speeds(gateway: Gateway, fake, model: str, *, slow: str, fast: str) -> None:
    customer = Customer(gateway)
    began = time.monotonic()
    ask_only(customer, fast, fake.script(stream(TEXT)), model=model, stream=True)
    slowly = Pause(time.monotonic() - began + 0.5)
    ask_only(customer, slow, fake.script([slowly, *stream(TEXT)]), model=model, stream=True)


def fail_just_now(gateway: Gateway, fake, model: str, failing_one: str) -> None:
    """Fail often enough for a breaker, and recently however long the new process takes to start:
    nothing is later than now.
    """
    customer = Customer(gateway)
    failure = fake.script(error(500))
    for _ in range(20):
        ask_only(customer, failing_one, failure, model=model)
    rows = eventually(customer.requests, lambda rows: len(rows) == 20)
    for row in rows:
        row.created_at += dt.timedelta(hours=1)
    ApiRequest.objects.bulk_update(rows, ["created_at"])


def test_it_starts_without_the_log(monkeypatch, caplog):
    async def no_database(_):
        raise OperationalError("no database")

    monkeypatch.setattr(history, "in_thread", no_database)
    asyncio.run(history.learn())
    assert "the routes begin without a history: OperationalError" in caplog.text
