"""Web processes that freeze, die or lose their database: nothing is charged twice or held for ever.

Here a process beats a hundred times as often as it really does. The long tests at the end have the
real intervals, with the worker and the beat of `make run`.
"""

import concurrent.futures
import contextlib
import datetime as dt
import os
import re
import subprocess
import threading
import time
import uuid

import pytest
import requests
from django.conf import settings as django_settings
from django.db import OperationalError, connection, connections

from billing.tiers import TIERS
from gateway.commits import reconcile, sweeper
from gateway.models import ApiRequest, SweeperState, WebProcess
from kyma.machine import processes, programs
from tests.support.factories import make_process
from tests.support.frozen import frozen, frozen_postgres
from tests.support.gateway.receipts import END, HELLO, STOP, WORLD, events_of, read_until, text_of
from tests.support.live import ROOT, Customer, Gateway, database_urls, eventually
from tests.support.provider import wire
from tests.support.provider.scripts import Head, WaitFor, answer
from tests.support.valkey import Valkey

AT_ONCE = TIERS[0].max_open_holds
FRESH_S = 0.4
QUICK = {
    "LEASE_BEAT_INTERVAL_S": "0.1",
    "LEASE_FRESH_S": str(FRESH_S),
    "SWEEPER_SILENT_S": "1",
}
GAP_S = 2  # Between looks that count. On a slow machine a process that lives may beat late.
REAL = {
    "ADMISSION_TIMEOUT_S": "2",
    "SETTLE_TIMEOUT_S": "10",
    "CACHE_TTL_S": "1",
    "UPSTREAM_IDLE_TIMEOUT_S": "600",  # The provider waits for the end of the freeze.
}
REAL_DEATH_S = 90
only_postgres = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has no server that could freeze"
)


@pytest.fixture(scope="module")
def _quick_process(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock(), Gateway(**QUICK) as gateway:
        yield gateway


@pytest.fixture
def quick(committed, scripted, _quick_process):
    """A gateway process that beats often, and knows fast that it hasn't."""
    return _quick_process


@pytest.fixture
def stream_of(fake):
    """Begins a stream that ends when the test lets it; the prompt, and the events to come."""

    def begin(customer: Customer):
        prompt = fake.script([Head(), HELLO, WaitFor("the end"), WORLD, STOP, *END])
        events = events_of(customer.ask(prompt, stream=True))
        read_until(events, "Hello ")
        return prompt, events

    return begin


class Sweeper:
    """A sweeper whose looks at one process count after `gap_s`.

    Those at all others have their real distance: the gateways of other tests go on living.
    """

    def __init__(self, process: WebProcess, gap_s: float = 0):
        self._rows = WebProcess.objects.filter(pk=process.pk)
        self._gap_s = gap_s
        self._looked_at = None

    def run(self) -> int:
        looked_at = self._rows.values_list("looked_at", flat=True).get()
        if looked_at not in (None, self._looked_at):
            earlier_s = django_settings.LEASE_LOOK_GAP_S - self._gap_s
            self._looked_at = looked_at - dt.timedelta(seconds=earlier_s)
            self._rows.update(looked_at=self._looked_at)
        return sweeper.run()

    def run_until(self, is_over) -> None:
        eventually(lambda: (self.run(), is_over())[1])


def check_books(customer: Customer) -> None:
    eventually(customer.holds, lambda holds: not holds)
    assert list(reconcile.differences(customer.account.id)) == []


def process_of(customer: Customer) -> WebProcess:
    (process_id,) = {hold.process_id for hold in eventually(customer.holds)}
    return WebProcess.objects.get(pk=process_id)


def check_outlived_its_lease(customer: Customer, fake, prompt: str, events) -> None:
    """After a freeze in which its hold was swept: the answer is free, and it serves again."""
    fake.go(prompt, "the end")
    *_, last = events
    assert last["error"]["type"] == "api_error"
    (row,) = customer.requests()
    assert (row.outcome, row.cost_nano) == (ApiRequest.Outcome.LOST, 0)
    assert not customer.usage_entries()
    assert customer.ask(fake.script(answer("Again"))).status_code == 200
    assert len(customer.usage_entries()) == 1
    check_books(customer)


def test_a_process_that_was_frozen_beyond_its_lease_goes_on_under_a_new_id(quick, fake, stream_of):
    customer = Customer(quick)
    prompt, events = stream_of(customer)
    process = process_of(customer)
    with frozen(quick.pid):
        time.sleep(FRESH_S)
        Sweeper(process).run_until(lambda: not customer.holds())
        process.refresh_from_db()
        assert process.dead_at is not None
    check_outlived_its_lease(customer, fake, prompt, events)
    stuck, others = stream_of(customer)
    assert process_of(customer) != process
    fake.go(stuck, "the end")
    assert text_of(others) == "World"


def test_a_process_that_was_frozen_for_less_settles_what_it_held(quick, fake, stream_of):
    customer = Customer(quick)
    prompt, events = stream_of(customer)
    with frozen(quick.pid):
        assert [sweeper.run() for _ in range(20)] == [0] * 20, "looks in a row count as one"
    fake.go(prompt, "the end")
    assert text_of(events) == "World"
    assert len(customer.usage_entries()) == 1
    check_books(customer)


def test_while_it_beats_nothing_is_swept_however_often_it_is_looked_at(quick, fake, stream_of):
    customer = Customer(quick)
    prompt, events = stream_of(customer)
    process = process_of(customer)
    looks = Sweeper(process, GAP_S)
    looks.run_until(lambda: WebProcess.objects.get(pk=process.pk).beat > process.beat + 10)
    assert customer.holds()
    fake.go(prompt, "the end")
    assert text_of(events) == "World"
    check_books(customer)


def test_a_process_says_when_no_sweeper_has_run_for_long(quick):
    SweeperState.objects.all().delete()

    def state() -> str:
        response = requests.get(f"{quick.url}/ready", timeout=5)
        assert response.status_code == 200, "no other process would be better off"
        return response.json()["checks"]["sweeper"]

    def silent_s() -> float:
        headers = {"Authorization": f"Bearer {django_settings.METRICS_TOKEN}"}
        page = requests.get(f"{quick.url}/metrics", headers=headers, timeout=5).text
        assert "kyma_oldest_transaction_seconds" in page
        return float(re.search(r"^kyma_sweeper_silent_seconds (\S+)$", page, re.MULTILINE)[1])

    eventually(state, lambda text: text.startswith("no sweeper has run for "))
    assert silent_s() > 1
    sweeper.run()
    eventually(state, lambda text: text == "ok")
    eventually(silent_s, lambda seconds: seconds < 1)


def test_after_a_kill_the_account_is_free_again_and_its_key_too(committed, scripted, fake):
    with Gateway(**QUICK) as doomed:
        lose_all_that_runs(doomed, fake, lambda dead, is_over: Sweeper(dead).run_until(is_over))
        living = WebProcess.objects.filter(dead_at=None).latest("id")
    living.refresh_from_db()
    assert living.dead_at is not None, "a process that ends well ends its lease"


def lose_all_that_runs(gateway: Gateway, fake, until) -> None:
    """Kill a process that runs all that an account may run at once, one under a key."""
    customer, key = Customer(gateway), {"Idempotency-Key": uuid.uuid4().hex}
    prompts = [fake.script_attempts([[WaitFor("never")], answer("Alive")]) for _ in range(AT_ONCE)]
    bodies = [
        {"model": "scripted", "messages": [{"role": "user", "content": one}]} for one in prompts
    ]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        lost = [
            threads.submit(customer.post, body, headers=key if number == 0 else None)
            for number, body in enumerate(bodies)
        ]
        for prompt in prompts:
            fake.wait_for_calls(prompt)
        gateway.kill()
        assert all(one.exception() is not None for one in lost)
    gateway.start()
    assert customer.post(bodies[0], headers=key).status_code == 409, "its hold stands"
    assert customer.post(bodies[1]).status_code == 429, "as many as may run at once"
    until(process_of(customer), lambda: not customer.holds())
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as threads:
        asking = [threads.submit(customer.post, body) for body in bodies[1:]]
        answers = [customer.post(bodies[0], headers=key), *(one.result() for one in asking)]
    said = [one.json()["choices"][0]["message"]["content"] for one in answers]
    assert said == ["Alive"] * AT_ONCE
    assert len(customer.usage_entries()) == AT_ONCE
    check_books(customer)


@only_postgres
def test_while_the_database_is_frozen_nobody_dies(quick, fake, stream_of):
    survive_a_frozen_database(quick, fake, stream_of, frozen_s=2, gap_s=GAP_S)


def survive_a_frozen_database(gateway, fake, stream_of, *, frozen_s, gap_s=None, clients=2) -> None:
    """No live hold is swept, though the sweeper tries to run all the time."""
    customers = [Customer(gateway) for _ in range(clients)]
    begun = [stream_of(customer) for customer in customers]
    process = process_of(customers[0])
    with sweeping(sweeper.run if gap_s is None else Sweeper(process, gap_s).run):
        with frozen_postgres():
            time.sleep(frozen_s)
        eventually(
            lambda: process_of(customers[0]).beat, lambda beat: beat > process.beat + 2, within_s=60
        )
    for customer, (prompt, events) in zip(customers, begun, strict=True):
        fake.go(prompt, "the end")
        assert text_of(events) == "World"
        assert len(customer.usage_entries()) == 1
        check_books(customer)
        assert customer.ask(fake.script(answer("Again"))).status_code == 200


@contextlib.contextmanager
def sweeping(run_sweeper):
    """A sweeper that runs in a thread of its own, whatever becomes of the database."""
    is_over = threading.Event()

    def run() -> None:
        try:
            while not is_over.wait(0.1):
                with contextlib.suppress(OperationalError):  # Celery would start it again, too.
                    run_sweeper()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


# --- With the real intervals ---------------------------------------------------------------------


@pytest.fixture
def jobs(committed, scripted, tmp_path, settings, monkeypatch):
    """The worker and the beat of `make run`, with their real intervals."""
    settings.STATE_DIR = tmp_path
    monkeypatch.setattr(wire, "WAIT_FOR_DEADLINE_S", 300)  # The provider is patient, too.
    with Valkey(tmp_path) as valkey, contextlib.ExitStack() as running:
        environment = {**os.environ, **database_urls(), "REDIS_URL": valkey.url}
        for program in (programs.worker(), programs.beat()):
            log = running.enter_context((tmp_path / f"{program.name}.log").open("wb"))
            process = subprocess.Popen(
                program.command,
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            running.callback(process.wait)
            running.callback(processes.kill_session, process.pid)
        first = make_process()
        eventually(lambda: WebProcess.objects.get(pk=first.pk).looked_at, within_s=120)
        yield environment


@pytest.mark.endurance
def test_leases_a_process_frozen_for_two_minutes(jobs, fake, stream_of):
    with Gateway(**REAL) as gateway:
        customer = Customer(gateway)
        prompt, events = stream_of(customer)
        process = process_of(customer)
        with frozen(gateway.pid):
            time.sleep(120)
            assert not customer.holds()
        check_outlived_its_lease(customer, fake, prompt, events)
        process.refresh_from_db()
        assert process.dead_at is not None


@pytest.mark.endurance
@only_postgres
def test_leases_a_database_frozen_for_a_minute_under_load(jobs, fake, stream_of):
    with Gateway(**REAL) as gateway:
        survive_a_frozen_database(gateway, fake, stream_of, frozen_s=60, clients=50)


@pytest.mark.endurance
def test_leases_a_kill_is_over_within_90_seconds(jobs, fake):
    with Gateway(**REAL) as gateway:
        lose_all_that_runs(
            gateway, fake, lambda _, is_over: eventually(is_over, within_s=REAL_DEATH_S)
        )
