"""Redis freezes while a process is under load: no request waits for it, and limits come back."""

import statistics
import time

import pytest

from gateway.commits import reconcile
from tests.support.gateway.pressed import Load
from tests.support.gateway.receipts import GOOD, PRICE
from tests.support.live import USD, Gateway, eventually
from tests.support.valkey import Valkey

AT_WORK_S = 1.0
LOOKS_EACH_S = 1.0  # token_buckets.RETRY_REDIS_AFTER_S
LIMITED = {"tier": 4}  # so that Redis is asked
TIMEOUT_S = 1.0  # Where it is waited for, it shows on a slow machine too.


@pytest.mark.parametrize(
    "away_s",
    [
        pytest.param(3.5, id="quick"),
        pytest.param(60, id="frozen-for-a-minute", marks=pytest.mark.endurance),
    ],
)
def test_nothing_waits_for_a_frozen_redis(committed, scripted, fake, tmp_path, away_s):
    with (
        Valkey(tmp_path) as valkey,
        Gateway(REDIS_URL=valkey.url, REDIS_TIMEOUT_S=str(TIMEOUT_S)) as gateway,
    ):
        load = Load(gateway, fake.script(GOOD), pause_s=0.3, account_fields=LIMITED)
        with load.pressing():
            time.sleep(AT_WORK_S)
            valkey.suspend()
            gone = time.monotonic()
            time.sleep(away_s)
            valkey.resume()
            back = time.monotonic()
            eventually(lambda: b'"redis": "ok"' in load.looks[-1].body)
            time.sleep(AT_WORK_S + LOOKS_EACH_S)
    assert {one.status for one in load.looks} == {200}
    assert {one.status for one in load.answers} <= {200, 429}
    during = [one for one in load.begun_between(gone, back) if one.ended < back]
    for kind in {one.kind for one in load.answers}:
        waited = [one for one in during if one.kind == kind and one.took_s >= TIMEOUT_S]
        assert len(waited) <= 1  # Until it was known.
    assert max(one.took_s for one in during) < TIMEOUT_S + 1
    assert statistics.median(one.took_s for one in during) < 0.3
    for number, customer in enumerate(load.customers):
        assert USD - customer.balance_nano() == PRICE * load.whole_answers(number)
    assert list(reconcile.differences()) == []
