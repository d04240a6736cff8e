"""Django's cache on Redis, which falls back to this process's memory while Redis is away.

It holds counters of rate limits and used codes. No page may fail because of them, and without
Redis each process keeps its own. The keys name addresses and people, so Redis gets only keyed
digests of them.
"""

import time

from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from django.utils.crypto import salted_hmac
from redis.exceptions import RedisError

# Redis isn't tried meanwhile, because each attempt may wait for its timeout. Then one caller tries.
RETRY_AFTER_S = 5.0
_away_until = 0.0


def digest_of(key: str, prefix: str, version: int) -> str:
    """Return the name of `key` in Redis."""
    return f"{prefix}:{version}:{salted_hmac('kyma.cache', key, algorithm='sha256').hexdigest()}"


def _on_either(name: str):
    def method(self, *arguments, **named):
        global _away_until
        before, now = _away_until, time.monotonic()
        if now >= before:
            if before:
                _away_until = now + RETRY_AFTER_S
            try:
                result = getattr(RedisCache, name)(self, *arguments, **named)
                _away_until = 0.0
                return result
            except RedisError:
                _away_until = time.monotonic() + RETRY_AFTER_S
        return getattr(self._local, name)(*arguments, **named)

    method.__name__ = name
    return method


class RedisOrLocalCache(RedisCache):
    def __init__(self, server, params):
        super().__init__(server, params)
        self._local = LocMemCache("without-redis", {**params, "OPTIONS": {}})

    add = _on_either("add")
    get = _on_either("get")
    set = _on_either("set")
    touch = _on_either("touch")
    delete = _on_either("delete")
    get_many = _on_either("get_many")
    has_key = _on_either("has_key")
    incr = _on_either("incr")
    set_many = _on_either("set_many")
    delete_many = _on_either("delete_many")
    clear = _on_either("clear")
