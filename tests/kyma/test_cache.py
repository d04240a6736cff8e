import threading
import time

import pytest

from kyma import cache as kyma_cache
from kyma.cache import RedisOrLocalCache
from tests.support.live import eventually
from tests.support.valkey import Valkey

PATIENT_S = 30
TIMEOUT_S = 0.2
OFTEN = 100  # Waited for each time, it would take twice as long as it may.


@pytest.fixture
def valkey(tmp_path, monkeypatch):
    monkeypatch.setattr(kyma_cache, "_away_until", 0.0)
    with Valkey(tmp_path) as server:
        yield server


def connect(server: Valkey, timeout_s: float = PATIENT_S) -> RedisOrLocalCache:
    timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    parameters = {
        "KEY_PREFIX": "cache",
        "KEY_FUNCTION": "kyma.cache.digest_of",
        "OPTIONS": timeouts,
    }
    cache = RedisOrLocalCache(server.url, parameters)
    cache._local.clear()
    return cache


def test_processes_share_it_on_redis(valkey):
    connect(valkey).set("key", [1, 2])
    assert connect(valkey).get("key") == [1, 2]


def test_redis_sees_neither_addresses_nor_people(valkey):
    connect(valkey).set("login:ip:192.0.2.7", 1)
    (name,) = valkey.ask("KEYS", "*")
    assert name.startswith(b"cache:1:")
    assert b"192.0.2.7" not in name


def test_without_redis_it_counts_in_this_process(valkey):
    cache = connect(valkey)
    valkey.stop()
    assert cache.get("key", "nothing") == "nothing"
    assert cache.add("key", 1)
    assert not cache.add("key", 2)
    assert cache.incr("key") == 2
    assert cache.get_many(["key"]) == {"key": 2}
    assert cache.has_key("key")
    assert cache.touch("key", 10)
    assert cache.delete("key")
    cache.set_many({"a": 1, "b": 2})
    cache.delete_many(["a"])
    cache.clear()
    assert cache.get("b") is None


def test_a_redis_that_hangs_is_waited_for_once(valkey):
    cache = connect(valkey, TIMEOUT_S)
    valkey.suspend()
    began_at = time.monotonic()
    for _ in range(OFTEN):
        cache.get("key")
    valkey.resume()
    assert time.monotonic() - began_at < OFTEN * TIMEOUT_S / 2


def test_redis_is_asked_again_later(valkey, monkeypatch):
    monkeypatch.setattr(kyma_cache, "RETRY_AFTER_S", 0.1)
    connect(valkey).set("key", "shared")
    cache = connect(valkey, TIMEOUT_S)
    valkey.suspend()
    assert cache.get("key") is None
    valkey.resume()
    assert eventually(lambda: cache.get("key")) == "shared"


def test_one_caller_asks_redis_again_and_no_other_waits(valkey, monkeypatch):
    monkeypatch.setattr(kyma_cache, "_away_until", time.monotonic())  # It was away until now.
    cache = connect(valkey, timeout_s=PATIENT_S)
    valkey.suspend()
    try:
        asking = threading.Thread(target=cache.get, args=("key",))
        asking.start()
        eventually(lambda: kyma_cache._away_until > time.monotonic())
        assert cache.get("key", "nothing") == "nothing"
        assert asking.is_alive()
    finally:
        valkey.resume()
        asking.join()
