"""The jobs as they run: Celery's worker and beat, on a real Valkey; and the gateway without one."""

import os
import subprocess
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from billiard import pool as billiard

from billing import pricing
from gateway.commits.now import commit_now
from gateway.models import ApiRequest
from kyma.machine import processes, programs
from kyma.machine.supervisor import Program
from tests.support.factories import make_account, make_ask, make_price, make_reserve
from tests.support.live import (
    DEADLINE_S,
    ROOT,
    START_DEADLINE_S,
    Customer,
    Gateway,
    database_urls,
    eventually,
)
from tests.support.ports import free_port
from tests.support.valkey import Valkey

# How long a process of Celery's pool waits, before it ends, for its parent to have heard of its
# last task: in vain if the parent was told to end in that moment.
POOL_WAITS_S = (
    billiard.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT
    * billiard.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_INTERVAL
)


@pytest.fixture
def valkey(tmp_path):
    """The URL of a server of this test's own."""
    with Valkey(tmp_path) as server:
        yield server.url


@pytest.fixture
def jobs(committed, valkey, tmp_path, settings):
    """The worker and the beat of `make run`, which sweep each second."""
    settings.STATE_DIR = tmp_path
    environment = {
        **os.environ,
        **database_urls(),
        "REDIS_URL": valkey,
        "HOLD_SWEEP_INTERVAL_S": "1",
    }
    with (
        running(programs.worker(), environment, tmp_path) as worker,
        running(programs.beat(), environment, tmp_path) as beat,
    ):
        yield worker, beat


@contextmanager
def running(program: Program, environment: dict[str, str], logs: Path):
    """The program's process, in a session of its own."""
    log = logs / f"{program.name}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            program.command,
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        yield process
        processes.kill_session(process.pid)
    print(log.read_text())


def test_expired_holds_are_swept_and_worker_and_beat_end_on_sigterm(jobs):
    account = make_account(balance_nano=1000)
    for _ in range(2):  # Not only when it starts.
        request_id = make_expired_hold(account)
        row = eventually(ApiRequest.objects.filter(pk=request_id).first, within_s=START_DEADLINE_S)
        assert row.outcome == ApiRequest.Outcome.LOST
    account.refresh_from_db()
    assert (account.balance_nano, account.held_nano) == (1000, 0)
    assert not account.holds.exists()

    for process in jobs:
        process.terminate()
        assert process.wait(POOL_WAITS_S + DEADLINE_S) == 0
        assert not processes.in_session(process.pid)


def make_expired_hold(account) -> uuid.UUID:
    reserve = make_reserve(account, make_price(), make_ask(600), lifetime_s=-1)
    commit_now([reserve])
    assert account.holds.exists()
    return uuid.UUID(reserve.request_id)


def test_without_redis_the_gateway_answers_and_bills(committed, scripted):
    with Gateway(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0") as gateway:
        customer = Customer(gateway)
        answer = customer.ask("Are you there?")
        streamed = customer.ask("And now?", stream=True).text
    assert answer.status_code == 200
    assert streamed.endswith("data: [DONE]\n\n")
    costs = [row.cost_nano for row in customer.requests()]
    assert f"{answer.json()['usage']['cost']:.9f}" == f"{costs[0] / pricing.NANO_PER_USD:.9f}"
    assert sorted(-entry.amount_nano for entry in customer.usage_entries()) == sorted(costs)
    assert all(costs)
