"""What a process tells Prometheus after traffic that is known; and that it tells of nobody."""

import asyncio
import datetime as dt
import uuid

import pytest
import requests
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from gateway.commits import queue as commit_queue
from gateway.commits.operations import HoldClosed
from gateway.commits.queue import CommitFailed, CommitQueue
from gateway.commits.record import RequestRecord
from gateway.models import ApiRequest
from gateway.serving import metrics, settlement
from tests.gateway.conftest import live_route
from tests.support.gateway.http_client import send
from tests.support.gateway.receipts import HELLO
from tests.support.live import DEADLINE_S, Customer, Gateway, eventually
from tests.support.provider.scripts import Head, Reset, Silence, answer, error, stream

LABELS = {"api", "outcome", "status_class", "provider", "model", "status", "fault", "le"}
APIS = {"chat", "messages", "responses", "models", "model", "balance", "generation", "count_tokens"}
FAULTS = {"", "refused", "silent", "broken", "garbled", "overloaded", "faulty", "declined"}
SCRIPTED = {"provider": "scripted", "model": "scripted"}
FINISHED = {"api": "chat", "outcome": "finished", "status_class": "2xx"}

Sample = tuple[str, frozenset]


@pytest.fixture(scope="module")
def _watched_process(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), Gateway() as gateway:
        yield gateway


@pytest.fixture
def watched(committed, scripted, _watched_process):
    """A customer of a process whose numbers are made by this module alone."""
    return Customer(_watched_process)


def page_of(gateway: Gateway) -> str:
    headers = {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}
    response = requests.get(f"{gateway.url}/metrics", headers=headers, timeout=DEADLINE_S)
    assert response.status_code == 200
    return response.text


def samples_in(page: str) -> dict[Sample, float]:
    """Every sample by its name and labels; none stands there twice."""
    found: dict[Sample, float] = {}
    for family in text_string_to_metric_families(page):
        for one in family.samples:
            place = (one.name, frozenset(one.labels.items()))
            assert place not in found
            found[place] = one.value
    return found


class Watch:
    """The samples of a process, and how much they have risen since."""

    def __init__(self, gateway: Gateway):
        self._gateway = gateway
        self._before = samples_in(page_of(gateway))

    def now(self, name: str, **labels: str) -> float | None:
        return samples_in(page_of(self._gateway)).get((name, frozenset(labels.items())))

    def rise(self, name: str, **labels: str) -> float:
        before = self._before.get((name, frozenset(labels.items())), 0)
        return (self.now(name, **labels) or 0) - before


# --- After known traffic


def test_requests_are_counted_by_how_they_ended(watched, fake):
    watch = Watch(watched.gateway)
    for _ in range(2):
        assert watched.ask(fake.script(answer("Hello."))).ok
    assert watched.ask("Hello", temperature=3).status_code == 400
    assert watched.ask(fake.script(error(500))).status_code == 502
    watched.get("/v1/models")
    assert watched.get("/v1/models/none").status_code == 404
    eventually(watched.requests, lambda rows: len(rows) == 6)

    def rise(api, outcome, status_class):
        labels = {"api": api, "outcome": outcome, "status_class": status_class}
        return watch.rise("kyma_requests_total", **labels)

    assert rise("chat", "finished", "2xx") == 2
    assert rise("chat", "refused", "4xx") == 1
    assert rise("chat", "upstream-failed", "5xx") == 1
    assert rise("models", "finished", "2xx") == 1
    assert rise("model", "refused", "4xx") == 1


def test_every_api_has_its_count(watched, fake):
    watch = Watch(watched.gateway)
    token = fake.script(answer("Hello."))
    body = {"model": "scripted", "max_tokens": 9, "messages": [{"role": "user", "content": token}]}
    for path, asked in {
        "/v1/messages": body,
        "/v1/responses": {"model": "scripted", "input": token},
    }.items():
        assert send(watched.gateway, "POST", path, headers=watched.headers, json=asked).ok
    for api in ("messages", "responses"):
        assert watch.rise("kyma_requests_total", **{**FINISHED, "api": api}) == 1


def test_the_times_are_observed_once_for_each_answer(watched, fake):
    watch = Watch(watched.gateway)
    watched.ask(fake.script(answer("Hello.")))
    assert watched.ask(fake.script(stream("Hello.")), stream=True).content
    assert watch.rise("kyma_overhead_seconds_count") == 2
    assert watch.rise("kyma_settle_seconds_count") == 2
    assert watch.rise("kyma_first_token_seconds_count", **SCRIPTED) == 1
    rows = watched.requests()
    assert watch.rise("kyma_overhead_seconds_sum") == pytest.approx(
        sum(row.overhead_ms for row in rows) / 1000
    )
    (streamed,) = (row for row in rows if row.streamed)
    assert watch.rise("kyma_first_token_seconds_sum", **SCRIPTED) == pytest.approx(
        streamed.first_token_ms / 1000
    )
    assert watch.now("kyma_route_latency_ms", **SCRIPTED) > 0


def test_attempts_are_counted_by_what_the_provider_said(watched, fake):
    watch = Watch(watched.gateway)
    watched.ask(fake.script(answer("Hello.")))
    watched.ask(fake.script(error(429)))
    watched.ask(fake.script(error(400)))
    assert watched.ask(fake.script([Head(), HELLO, Reset()]), stream=True).content
    eventually(watched.requests, lambda rows: len(rows) == 4)
    for status, fault in {"200": "", "429": "overloaded", "400": "declined"}.items():
        labels = {"provider": "scripted", "status": status, "fault": fault}
        assert watch.rise("kyma_upstream_attempts_total", **labels) == 1
    broken = {"provider": "scripted", "status": "200", "fault": "broken"}
    assert watch.rise("kyma_upstream_attempts_total", **broken) == 1


# --- Now


def test_a_stream_is_open_and_holds_credit_until_its_end(watched, fake):
    watch = Watch(watched.gateway)
    token = fake.script([Head(), HELLO, Silence(), *stream("World")[1:]])
    response = watched.ask(token, stream=True)
    assert (watch.now("kyma_open_streams"), watch.now("kyma_open_holds")) == (1, 1)
    assert len(watched.holds()) == 1
    response.close()
    eventually(lambda: watch.now("kyma_open_streams") == watch.now("kyma_open_holds") == 0)


def test_a_request_that_failed_holds_nothing_any_more(watched, fake):
    watch = Watch(watched.gateway)
    watched.ask(fake.script(error(500)))
    watched.ask("Hello", max_tokens=10**6, n=8)
    eventually(lambda: watch.now("kyma_open_holds") == 0)


def test_the_queue_tells_its_depth_and_what_it_dropped(monkeypatch):
    queue = CommitQueue(engine=None, size=2)
    queue.dropped = 3
    queue._waiting.extend([None, None])
    monkeypatch.setattr(commit_queue, "_queue", queue)
    told = samples_in(metrics.text().decode())
    assert told["kyma_commit_queue_depth", frozenset()] == 2
    assert told["kyma_commit_dropped_total", frozenset()] == 3


def test_the_breaker_shows_once_half_of_twenty_have_failed(watched, fake):
    live_route("fragile", fake.base_url)
    fragile = {"provider": "fragile", "model": "fragile"}
    watch = Watch(watched.gateway)
    assert watched.ask(fake.script(answer("Hello.")), model="fragile").ok
    assert watch.now("kyma_breaker_open", **fragile) == 0
    failing = fake.script(error(500))
    for _ in range(20):
        assert watched.ask(failing, model="fragile").status_code == 502
    assert watch.now("kyma_breaker_open", **fragile) == 1
    assert watched.ask(fake.script(answer("Hello.")), model="fragile").ok
    assert watch.now("kyma_breaker_open", **fragile) == 0


def test_after_a_fallback_each_route_keeps_the_name_of_its_model(watched, fake):
    live_route("stumbling", fake.base_url)
    token = fake.script_attempts([error(500), stream("Hello.")])
    models = {"model": "stumbling", "models": ["scripted"]}
    assert watched.ask(token, stream=True, **models).content  # Its end comes after the metrics.
    row = watched.settled_request()
    tried = {one["provider"] for one in row.attempts}
    assert (row.model, tried) == ("scripted", {"stumbling", "scripted"})
    samples = samples_in(page_of(watched.gateway))
    shown = {
        dict(labels)["provider"]: dict(labels)["model"]
        for name, labels in samples
        if name in ("kyma_breaker_open", "kyma_route_latency_ms")
    }
    assert shown["stumbling"] == "stumbling"
    assert shown["scripted"] == "scripted"
    of_streams = {
        frozenset(labels) for name, labels in samples if name == "kyma_first_token_seconds_count"
    }
    assert frozenset({("provider", "scripted"), ("model", "scripted")}) in of_streams
    assert not [one for one in of_streams if ("model", "stumbling") in one]


# --- Nobody


def test_every_label_is_from_a_bounded_set(watched, fake):
    watched.ask(fake.script(answer("Hello.")), user="person-7")
    watched.ask("Hello", model=f"no-such-{uuid.uuid4().hex}")
    watched.ask(fake.script(error(599)))
    eventually(watched.requests, lambda rows: len(rows) == 3)
    samples = samples_in(page_of(watched.gateway))
    labels = {pair for _, pairs in samples for pair in pairs}
    assert {name for name, _ in labels} <= LABELS
    values = {name: {value for label, value in labels if label == name} for name in LABELS}
    assert values["api"] <= APIS
    assert values["outcome"] <= set(ApiRequest.Outcome.values)
    assert values["status_class"] <= {"2xx", "4xx", "5xx"}
    assert values["fault"] <= FAULTS
    assert values["provider"] | values["model"] <= {"scripted", "fragile", "stumbling"}
    assert {one for one in values["status"] if not one.isdecimal()} <= {"none", "other"}
    assert "other" in values["status"]


def test_no_number_tells_of_a_person(watched, fake):
    watched.ask(fake.script(answer("Hello.")), user="person-7", session_id="session-7")
    page = page_of(watched.gateway)
    ids = (watched.account.id, watched.user.id, watched.key.id, watched.settled_request().id)
    for one in ids:
        assert str(one) not in page
        assert one.hex not in page
    for said in (watched.user.email, watched.key_text, "person-7", "session-7", "127.0.0.1"):
        assert said not in page


# --- The guard, over HTTP


def test_a_running_process_refuses_strangers(watched):
    assert send(watched.gateway, "GET", "/metrics").status_code == 401
    assert send(watched.gateway, "GET", "/metrics", headers=watched.headers).status_code == 401


# --- What can't be settled


@pytest.mark.parametrize("failure", [CommitFailed("gone"), HoldClosed("gone")], ids=repr)
def test_an_answer_that_could_not_be_settled_counts_as_lost(monkeypatch, failure):
    class Gone:
        depth = dropped = refused = 0

        async def submit(self, operation, timeout_s):
            raise failure

    monkeypatch.setattr(commit_queue, "_queue", Gone())
    record = RequestRecord("0" * 32, "a", None, dt.datetime.now(dt.UTC), "chat")
    record.outcome, record.status = "finished", 200
    place = ("kyma_requests_total", frozenset({**FINISHED, "outcome": "lost"}.items()))
    before = samples_in(metrics.text().decode()).get(place, 0)
    with pytest.raises(type(failure)):
        asyncio.run(settlement.settle(record, 5, None))
    assert samples_in(metrics.text().decode())[place] == before + 1
    assert record.outcome == "finished"
