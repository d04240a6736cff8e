"""The bytes of content that may be stored for an account within a day, by its tier.

The budget is a bucket that all processes share and that fills within a day. Each process takes a
twentieth of it at once and spends that by itself, so hardly any request asks Redis. A process that
ends loses what it hasn't spent.

An unlimited account has no budget.
"""

import dataclasses
import time
from collections import OrderedDict

from django.conf import settings

from gateway.access import token_buckets
from gateway.access.authentication import Caller
from gateway.access.token_buckets import Bucket

DAY_S = 24 * 60 * 60.0
PARTS = 20  # of the budget that are taken one by one
ASK_AGAIN_AFTER_S = 10.0  # once a budget was used up
MAX_ACCOUNTS = 10_000  # A forgotten account loses what it hasn't spent.


@dataclasses.dataclass(slots=True)
class _Share:
    """The bytes that this process may still store for one account."""

    bytes: int = 0
    used_up_until: float = 0.0  # monotonic


_shares: OrderedDict[str, _Share] = OrderedDict()  # The most recently used is last.


def daily_bytes(tier: int) -> int:
    """Return the budget of an account of this tier."""
    by_tier = settings.CONTENT_MB_PER_DAY
    return by_tier[min(tier, len(by_tier) - 1)] * 1_000_000


async def take(caller: Caller, size: int) -> bool:
    """Take `size` bytes from the account's budget. Return False if they aren't left."""
    if caller.unlimited:
        return True
    share = _share_of(caller.account_id)
    if share.bytes < size and not await _grow(share, caller, size):
        return False
    share.bytes -= size
    return True


async def _grow(share: _Share, caller: Caller, size: int) -> bool:
    """Take a part of the budget into the share, at least `size` bytes of it."""
    budget, now = daily_bytes(caller.tier), time.monotonic()
    if size > budget or now < share.used_up_until:
        return False
    part = max(size, budget // PARTS)
    bucket = Bucket(f"content:{caller.account_id}", budget, part, DAY_S)
    (level,) = await token_buckets.take([bucket])
    if level.wait_s:
        share.used_up_until = now + ASK_AGAIN_AFTER_S
        return False
    share.bytes += part
    return True


def _share_of(account_id: str) -> _Share:
    share = _shares.setdefault(account_id, _Share())
    _shares.move_to_end(account_id)
    if len(_shares) > MAX_ACCOUNTS:
        _shares.popitem(last=False)
    return share
