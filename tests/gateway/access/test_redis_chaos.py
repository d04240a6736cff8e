"""Redis dies, hangs, is emptied and comes back while two processes are asked without a pause.

Whatever becomes of it, no request fails and no money moves that shouldn't: only the limits change,
and while Redis is away they are tighter, as each process grants its share.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from billing.tiers import TIERS
from gateway.commits import reconcile
from tests.support.counts import counts
from tests.support.gateway.limited import admitted, ask_both, flowed_in, statuses
from tests.support.gateway.receipts import GOOD, PRICE
from tests.support.live import Customer, Gateway, eventually
from tests.support.valkey import Valkey

FREE = TIERS[0]
SHARE = FREE.model_requests // 2
REDIS_TIMEOUT_S = 4  # More than a stall of the machine, which is no fault of Redis.
SLACK_S = 11  # Of a slow machine; without a timeout it would be DEADLINE_S.
MAX_TOKENS = 2  # of USAGE


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """One request that was answered: by which process, how, and after how long."""

    process: int
    status: int
    took_s: float


class Crowd:
    """Customers who ask both processes over and over, one request at a time in each thread."""

    def __init__(self, pair: tuple[Gateway, Gateway], prompt: str):
        self.pair = pair
        self.prompt = prompt
        self.answers: dict[Customer, list[Asked]] = collections.defaultdict(list)

    @contextlib.contextmanager
    def asking(self, *customers: Customer, pause_s: float = 0.0) -> Iterator[None]:
        """Each customer at each process, until the end of the block."""
        over = threading.Event()
        places = list(itertools.product(customers, range(len(self.pair))))
        with concurrent.futures.ThreadPoolExecutor(len(places)) as threads:
            asking = [threads.submit(self._ask_until, over, pause_s, *place) for place in places]
            try:
                yield
            finally:
                over.set()
            for one in asking:
                one.result()

    def _ask_until(
        self, over: threading.Event, pause_s: float, customer: Customer, process: int
    ) -> None:
        at_process = customer.at(self.pair[process])
        for number in itertools.count():
            if over.is_set():
                return
            began = time.monotonic()
            response = at_process.ask(self.prompt, max_tokens=MAX_TOKENS, stream=number % 2 == 0)
            said = response.content
            assert response.status_code != 200 or b"Oslo" in said, said
            asked = Asked(process, response.status_code, time.monotonic() - began)
            self.answers[customer].append(asked)
            over.wait(pause_s)

    def until_refused(self, customer: Customer) -> None:
        """Wait until both processes have refused the customer again."""
        before = len(self.answers[customer])

        def refused_by_both() -> bool:
            since = self.answers[customer][before:]
            refused = [one.process for one in since if one.status == 429]
            return all(refused.count(process) > 1 for process in range(2))  # One was on its way.

        eventually(refused_by_both)

    def statuses(self, customer: Customer) -> list[int]:
        return [one.status for one in self.answers[customer]]


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(scope="module")
def _pair(valkey, django_db_setup, django_db_blocker):
    options = {
        "REDIS_URL": valkey.url,
        "REDIS_TIMEOUT_S": str(REDIS_TIMEOUT_S),
        "WEB_PROCESSES": "2",
    }
    with django_db_blocker.unblock(), Gateway(**options) as one, Gateway(**options) as other:
        yield one, other


@pytest.fixture
def crowd(_pair, scripted, fake):
    return Crowd(_pair, fake.script(GOOD))


@pytest.fixture
def customers(_pair, scripted):
    """The free tier, two higher ones, one whose money is soon used up, and one without limits."""
    return [
        Customer(_pair[0]),
        Customer(_pair[0], tier=2),
        Customer(_pair[0], tier=4),
        Customer(_pair[0], tier=4, balance_nano=20 * PRICE),
        Customer(_pair[0], unlimited=True),
    ]


# --- What becomes of Redis


@contextlib.contextmanager
def killed(valkey: Valkey) -> Iterator[None]:
    valkey.stop()
    try:
        yield
    finally:
        valkey.start()


@contextlib.contextmanager
def hanging(valkey: Valkey) -> Iterator[None]:
    valkey.suspend()
    try:
        yield
    finally:
        valkey.resume()


Fate = Callable[[Valkey], contextlib.AbstractContextManager]


@pytest.mark.parametrize("rounds", counts(1, proof=3, endurance=10))
def test_nothing_fails_and_no_money_is_lost_whatever_becomes_of_redis(
    crowd, customers, valkey, rounds
):
    with crowd.asking(*customers, pause_s=0.2):
        for _ in range(rounds):
            for fate in (killed, hanging):
                grants_its_share(crowd, valkey, fate)
            fills_up_by_each_flush(crowd, valkey)
    told = set().union(*(crowd.statuses(one) for one in crowd.answers))
    assert told == {200, 402, 429}
    assert max(one.took_s for asked in crowd.answers.values() for one in asked) < (
        REDIS_TIMEOUT_S + SLACK_S
    )
    assert sum(map(len, crowd.answers.values())) > 200 * rounds
    for customer in crowd.answers:
        check_books(customer, crowd.statuses(customer))


def grants_its_share(crowd: Crowd, valkey: Valkey, fate: Fate) -> None:
    """While Redis is away, somebody new gets the share of each process there, and no more."""
    newcomer = Customer(crowd.pair[0])
    with fate(valkey):
        began = time.monotonic()
        with crowd.asking(newcomer):
            crowd.until_refused(newcomer)
        refilled = flowed_in(SHARE, began)
    for process in range(2):
        found = [one.status for one in crowd.answers[newcomer] if one.process == process]
        assert set(found) == {200, 429}
        assert SHARE <= found.count(200) <= SHARE + refilled
    both_are_back(crowd.pair, crowd.prompt)


def both_are_back(pair: tuple[Gateway, Gateway], prompt: str) -> None:
    """Both processes find Redis again by themselves, and share the limit exactly."""
    limit = TIERS[2].model_requests
    for gateway in pair:
        ask = functools.partial(Customer(gateway, tier=2).ask, prompt)
        eventually(ask, lambda one: one.headers["x-ratelimit-limit-requests"] == str(limit))
    customer, began = Customer(pair[0], tier=2), time.monotonic()
    found = ask_both(pair, customer, limit + 20, prompt)
    assert admitted(found, limit, began)
    check_books(customer, statuses(found))


def fills_up_by_each_flush(crowd: Crowd, valkey: Valkey) -> None:
    newcomer, flushes = Customer(crowd.pair[0]), 2
    began = time.monotonic()
    with crowd.asking(newcomer):
        crowd.until_refused(newcomer)
        for _ in range(flushes):
            valkey.ask("FLUSHALL")
            valkey.ask("SCRIPT", "FLUSH")
            crowd.until_refused(newcomer)
    refilled = flowed_in(FREE.model_requests, began)
    full = FREE.model_requests * (flushes + 1)
    assert full <= crowd.statuses(newcomer).count(200) <= full + refilled


def check_books(customer: Customer, told: list[int]) -> None:
    """Each answer was paid once, at its price; nothing else was, and nothing is held."""
    eventually(customer.holds, lambda holds: not holds)
    eventually(customer.requests, lambda rows: len(rows) == len(told))
    entries = customer.usage_entries()
    assert [one.amount_nano for one in entries] == [-PRICE] * told.count(200)
    assert customer.held_nano() == 0
    assert list(reconcile.differences(customer.account.id)) == []
