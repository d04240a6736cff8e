"""The filters, order and pages of `GET /v1/models`.

The filters and orders are those of OpenRouter for which Kyma has figures. The pages have the format
that Anthropic's packages read. Without a `limit` all models are listed, because OpenAI's packages
can't page.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from gateway.analytics.levels import Level
from gateway.errors import InvalidRequest
from gateway.wire.checks import one_of
from gateway.wire.query import checked, names, number, offset

MAX_PAGE = 1000  # Claude Code asks for this many.

Query = Mapping[str, str]
Levels = Mapping[str, Level]  # The keys are slugs of models.


def chosen(models: Iterable[dict], query: Query) -> list[dict]:
    """Return the model objects that match the filters, which are lists of names.

    A model must support all of the parameters and output at least one of the modalities.
    """
    parameters = names(query, "supported_parameters")
    modalities = names(query, "output_modalities") - {"all"}
    return [
        one
        for one in models
        if parameters <= {*one["supported_parameters"]}
        and (not modalities or modalities & {*one["architecture"]["output_modalities"]})
    ]


# --- Order ---------------------------------------------------------------------------------------


def _price(model: dict) -> Decimal:
    return Decimal(model["pricing"]["prompt"]) + Decimal(model["pricing"]["completion"])


def _speed(level: Level) -> int | None:
    return None if level.tokens_per_second is None else -level.tokens_per_second


def _delay(level: Level) -> int | None:
    return level.first_token.p50_ms


_BY_WHAT_IT_SAYS: dict[str, Callable[[dict], Decimal | int]] = {
    "pricing-low-to-high": _price,
    "pricing-high-to-low": lambda one: -_price(one),
    "context-high-to-low": lambda one: -one["context_length"],
    "newest": lambda one: -one["created"],
}
_BY_LEVEL: dict[str, Callable[[Level], int | None]] = {
    "throughput-high-to-low": _speed,
    "latency-low-to-high": _delay,
}
SORT = one_of(*_BY_WHAT_IT_SAYS, *_BY_LEVEL)


def needs_levels(query: Query) -> bool:
    return query.get("sort") in _BY_LEVEL


def in_order(models: list[dict], query: Query, levels: Levels) -> list[dict]:
    """Return the models in the requested order; equal ones keep theirs. Raises InvalidRequest."""
    sort = checked(query, "sort", SORT)
    if sort is None:
        return models
    if sort in _BY_WHAT_IT_SAYS:
        return sorted(models, key=_BY_WHAT_IT_SAYS[sort])

    def unknown_last(model: dict) -> tuple[bool, int]:
        level = levels.get(model["canonical_slug"])
        figure = _BY_LEVEL[sort](level) if level else None
        return figure is None, figure or 0

    return sorted(models, key=unknown_last)


# --- Pages ---------------------------------------------------------------------------------------


def page(models: list[dict], query: Query) -> dict:
    """Return the list object of one page. Raises InvalidRequest.

    The page is taken from the models between `after_id` and `before_id`, without the first
    `offset` of them. It holds the first `limit` of the rest, or the last ones if there is a
    `before_id`.
    """
    low = _place(models, query, "after_id") + 1 if "after_id" in query else 0
    high = _place(models, query, "before_id") if "before_id" in query else len(models)
    within = models[low:high][offset(query) :]
    most = number(query, "limit", MAX_PAGE, low=1, high=MAX_PAGE)
    limit = most if "limit" in query else len(within)
    shown = within[-limit:] if "before_id" in query else within[:limit]
    return {
        "object": "list",
        "data": shown,
        "total_count": len(models),
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": len(shown) < len(within),
    }


def _place(models: list[dict], query: Query, name: str) -> int:
    for place, one in enumerate(models):
        if one["id"] == query[name]:
            return place
    raise InvalidRequest(f"`{name}` must be the id of a model in this list.", param=name)
