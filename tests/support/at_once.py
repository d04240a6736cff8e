"""Things done at the same moment, each on a connection of its own."""

import threading
from collections.abc import Callable, Sequence

from django.db import connections


def at_once(actions: Sequence[Callable], refusal: type[Exception]) -> list[str]:
    """Run all of `actions`. Returns "made" for each that succeeded and the code of the `refusal` of
    each that didn't, sorted.
    """
    start = threading.Barrier(len(actions))
    outcomes = []

    def run(action) -> None:
        try:
            start.wait()
            action()
            outcomes.append("made")
        except refusal as refused:
            outcomes.append(refused.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)
