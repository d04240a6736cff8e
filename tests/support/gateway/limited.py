"""Many requests of a limited customer at two gateway processes, and how many got through."""

import concurrent.futures
import time
from collections.abc import Callable

import requests

THREADS = 12  # Fewer than the requests that the lowest paying tier may have open.
MOST = 200  # More than flows into a bucket while it is used up.


def ask_both(pair, customer, count: int, prompt: str, **fields) -> list:
    """`count` requests at once, to both processes in turn. Their responses."""
    others = [customer.at(gateway) for gateway in pair]
    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        asks = [
            threads.submit(others[i % 2].ask, prompt, max_tokens=1, **fields) for i in range(count)
        ]
        return [one.result() for one in asks]


def statuses(responses) -> list[int]:
    return sorted(one.status_code for one in responses)


def codes(responses) -> set[str]:
    return {one.json()["error"]["code"] for one in responses if one.status_code == 429}


def admitted(responses, limit: int, began: float) -> bool:
    """Exactly the limit, and what has flowed in since `began`."""
    count = len(responses) - statuses(responses).count(429)
    return limit <= count <= limit + flowed_in(limit, began)


def flowed_in(limit: int, began: float) -> int:
    return int((time.monotonic() - began) * limit / 60) + 1


def until_refused(ask: Callable[[], requests.Response]) -> list[requests.Response]:
    """Ask one by one until a limit is used up. The last of the responses is the refusal."""
    responses = [ask()]
    while responses[-1].status_code != 429:
        assert len(responses) < MOST
        responses.append(ask())
    return responses
