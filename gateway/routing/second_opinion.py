"""The choice of a second provider after the first one has declined a request.

The fault may lie in the request or only in the provider: it may not know a field, or may still be
loading the model. So one other provider of the model is asked, but no third one: a bad request
costs two calls for each of its models, not one call at every provider.
"""

from collections import Counter

from gateway.catalogue.entries import Candidate
from gateway.failures import Declined

MOST_OPINIONS = 2


class Declinations:
    """The declinations of one request, counted by model.

    A count of routes is a count of providers: no two routes to a model have the same provider.
    """

    def __init__(self) -> None:
        self._opinions: Counter[str] = Counter()
        self._too_small: dict[str, int] = {}

    def note(self, route: Candidate, failure: Declined) -> None:
        if failure.too_long:  # Any route with a larger context may still take the request.
            largest = max(route.context_length, self._too_small.get(route.model, 0))
            self._too_small[route.model] = largest
        else:
            self._opinions[route.model] += MOST_OPINIONS if failure.is_policy else 1

    def rule_out(self, route: Candidate) -> bool:
        """True when there is no point in trying this route."""
        return self._opinions[
            route.model
        ] >= MOST_OPINIONS or route.context_length <= self._too_small.get(route.model, 0)
