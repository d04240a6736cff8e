"""Whom else to ask when a provider finds fault with a request.

What it says may be true of the request, or of the provider alone: a field that it doesn't know, a
model that it is just loading. So one other provider of the model is asked, and no third: a request
that is bad costs each of its models two calls, not one at every provider.
"""

from collections import Counter

from gateway.failures import Declined
from gateway.routing.resolution import Candidate

MOST_OPINIONS = 2


class Declinations:
    """Who has declined one request, by model. No two routes to a model have the same provider."""

    def __init__(self) -> None:
        self._opinions: Counter[str] = Counter()
        self._too_small: dict[str, int] = {}

    def note(self, route: Candidate, failure: Declined) -> None:
        if failure.too_long:  # All with a larger context may take it.
            largest = max(route.context_length, self._too_small.get(route.model, 0))
            self._too_small[route.model] = largest
        else:
            self._opinions[route.model] += MOST_OPINIONS if failure.is_policy else 1

    def rule_out(self, route: Candidate) -> bool:
        """Whether there is no point in asking over this route."""
        return self._opinions[
            route.model
        ] >= MOST_OPINIONS or route.context_length <= self._too_small.get(route.model, 0)
