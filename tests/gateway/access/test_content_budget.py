"""The content that may be stored for an account within a day."""

import asyncio

import pytest

from gateway.access import content_budget, token_buckets
from gateway.access.token_buckets import Twin
from tests.support.factories import make_caller

MB = 1_000_000
DAY_S = 24 * 60 * 60


class Buckets:
    """The buckets of all processes. Tests move their clock."""

    def __init__(self):
        self.now_s = 0.0
        self.asked = 0
        self._twin = Twin()

    async def take(self, buckets):
        self.asked += 1
        return self._twin.take(buckets, self.now_s)


@pytest.fixture(autouse=True)
def buckets(monkeypatch, settings):
    settings.CONTENT_MB_PER_DAY = [10, 20]
    found = Buckets()
    monkeypatch.setattr(token_buckets, "take", found.take)
    monkeypatch.setattr(content_budget, "ASK_AGAIN_AFTER_S", 0)
    start_another_process()
    yield found
    start_another_process()


def start_another_process() -> None:
    """Forget what this process has taken."""
    content_budget._shares.clear()


def taken(size: int, times: int, **caller) -> int:
    """Return how many of `times` pieces of content may be stored."""

    async def story() -> int:
        found = [await content_budget.take(make_caller(**caller), size) for _ in range(times)]
        return sum(found)

    return asyncio.run(story())


def test_an_account_may_store_its_budget_and_no_more(buckets):
    assert taken(MB // 10, 200) == 100
    assert buckets.asked <= content_budget.PARTS + 100


def test_most_pieces_are_taken_without_asking(buckets):
    assert taken(1000, 1000) == 1000
    assert buckets.asked == 2


@pytest.mark.parametrize(("tier", "most"), [(0, 10), (1, 20), (4, 20)])
def test_each_tier_has_its_budget_and_higher_ones_the_last(tier, most):
    assert taken(MB, 30, tier=tier) == most


def test_accounts_have_budgets_of_their_own():
    assert taken(MB, 11) == 10
    assert taken(MB, 11, account_id="b") == 10


def test_processes_share_the_budget():
    assert taken(MB, 6) == 6
    start_another_process()
    assert taken(MB, 6) == 4


def test_after_a_day_the_budget_is_there_again(buckets):
    assert taken(MB, 11) == 10
    buckets.now_s = DAY_S / 2
    assert taken(MB, 11) == 5
    buckets.now_s = 2 * DAY_S
    assert taken(MB, 11) == 10


def test_more_than_the_whole_budget_is_never_stored():
    assert taken(10 * MB + 1, 1) == 0
    assert taken(10 * MB, 1) == 1


def test_a_budget_of_nothing_stores_nothing(settings):
    settings.CONTENT_MB_PER_DAY = [0]
    assert taken(1, 1) == 0


def test_an_unlimited_account_has_no_budget(buckets):
    assert taken(MB, 100, unlimited=True) == 100
    assert buckets.asked == 0


def test_a_budget_that_is_used_up_is_not_asked_for_each_time(buckets, monkeypatch):
    monkeypatch.setattr(content_budget, "ASK_AGAIN_AFTER_S", 60)
    assert taken(MB, 100) == 10
    assert buckets.asked == 11


def test_forgotten_accounts_bound_the_memory(monkeypatch):
    monkeypatch.setattr(content_budget, "MAX_ACCOUNTS", 3)
    for number in range(10):
        taken(1, 1, account_id=str(number))
    assert list(content_budget._shares) == ["7", "8", "9"]
