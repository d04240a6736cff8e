"""`GET /v1/models` in the order, the choice and the pages that its query asks for."""

import math
from collections import Counter

import pytest

from billing.pricing import Price
from gateway.analytics import histogram, showcase
from gateway.analytics.levels import LEAST_SAMPLES, Level
from gateway.analytics.route_tally import ServiceTally
from gateway.errors import InvalidRequest
from gateway.v1.model_objects import alias_object, model_object
from gateway.v1.model_query import chosen, in_order, needs_levels, page
from tests.gateway.conftest import live_route
from tests.gateway.v1.test_model_list import candidate, entry
from tests.support.factories import make_provider, make_route
from tests.support.gateway import anthropic_clients, openai_clients
from tests.support.gateway.http_client import error_of
from tests.support.gateway.served import folded, serve


def ids(models) -> list[str]:
    return [one["id"] for one in models]


# Filters


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ({}, ["chat", "plain", "vectors"]),
        ({"supported_parameters": "tools"}, ["chat"]),
        ({"supported_parameters": "tools, seed"}, ["chat"]),
        ({"supported_parameters": "seed"}, ["chat", "plain"]),
        ({"supported_parameters": "nothing"}, []),
        ({"output_modalities": "embeddings"}, ["vectors"]),
        ({"output_modalities": "text,image"}, ["chat", "plain"]),
        ({"output_modalities": "all"}, ["chat", "plain", "vectors"]),
        ({"supported_parameters": "tools", "output_modalities": "embeddings"}, []),
    ],
)
def test_the_list_is_filtered_as_at_openrouter(query, left):
    models = [
        model_object(entry(slug="chat", capabilities=("tools",))),
        model_object(entry(slug="plain", capabilities=())),
        model_object(entry(slug="vectors", capabilities=("embedding",))),
    ]
    assert ids(chosen(models, query)) == left


# Order


def priced(slug: str, input_nano: int, output_nano: int, **fields):
    price = Price(input=input_nano, cached_input=0, output=output_nano)
    return entry(slug=slug, candidates=(candidate(price=price),), **fields)


OLD = priced("old", 9, 1, created=1, context_length=100)
DEAR = priced("dear", 1, 10, created=2, context_length=300)
NEW = priced("new", 2, 2, created=3, context_length=200)
MODELS = [*map(model_object, (DEAR, NEW, OLD)), alias_object("best", NEW)]


def level(first_token_ms: float, tokens_per_second: int, count: int = LEAST_SAMPLES) -> Level:
    tally = ServiceTally(
        attempts=count,
        streams=count,
        output_tokens=tokens_per_second * count,
        writing_ms=1000 * count,
        first_token=Counter({histogram.bucket_of(first_token_ms): count}),
    )
    return Level.of(tally)


LEVELS = {"old": level(900, 10), "new": level(300, 40), "dear": level(1, 999, count=1)}


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("pricing-low-to-high", ["new", "best", "old", "dear"]),
        ("pricing-high-to-low", ["dear", "old", "new", "best"]),
        ("context-high-to-low", ["dear", "new", "best", "old"]),
        ("newest", ["new", "best", "dear", "old"]),
        ("throughput-high-to-low", ["new", "best", "old", "dear"]),
        ("latency-low-to-high", ["new", "best", "old", "dear"]),
    ],
)
def test_the_list_is_sorted_as_at_openrouter(sort, order):
    assert ids(in_order(MODELS, {"sort": sort}, LEVELS)) == order
    assert needs_levels({"sort": sort}) == (sort.split("-")[0] in ("throughput", "latency"))


def test_without_a_wish_the_list_keeps_its_order():
    assert ids(in_order(MODELS, {}, {})) == ["dear", "new", "old", "best"]


def test_models_that_nobody_has_asked_yet_keep_their_order():
    assert ids(in_order(MODELS, {"sort": "latency-low-to-high"}, {})) == ids(MODELS)


def test_an_order_that_kyma_has_no_figures_for_is_refused():
    with pytest.raises(InvalidRequest, match="latency-low-to-high, not most-popular") as refused:
        in_order(MODELS, {"sort": "most-popular"}, {})
    assert refused.value.param == "sort"


@pytest.mark.usefixtures("books")
def test_what_was_measured_is_what_the_page_of_models_shows(alice):
    quick, slow = (make_route(slug, provider=make_provider(slug)) for slug in ("quick", "slow"))
    serve(quick, alice.credit_account, LEAST_SAMPLES, first_ms=100)
    serve(slow, alice.credit_account, LEAST_SAMPLES, first_ms=2000)
    folded()
    levels = showcase.recent_levels()
    assert levels["quick"] == showcase.showcase().model("quick").measured.last_24_hours
    models = [model_object(entry(slug=slug)) for slug in ("slow", "quick")]
    assert ids(in_order(models, {"sort": "latency-low-to-high"}, levels)) == ["quick", "slow"]


# Pages


FIVE = [model_object(entry(slug=slug)) for slug in "abcde"]


@pytest.mark.parametrize(
    ("query", "shown", "has_more"),
    [
        ({}, "abcde", False),
        ({"limit": "1000"}, "abcde", False),
        ({"limit": "2"}, "ab", True),
        ({"limit": "2", "offset": "3"}, "de", False),
        ({"offset": "4"}, "e", False),
        ({"offset": "5"}, "", False),
        ({"limit": "2", "after_id": "b"}, "cd", True),
        ({"limit": "2", "after_id": "c"}, "de", False),
        ({"after_id": "e"}, "", False),
        ({"limit": "2", "before_id": "d"}, "bc", True),
        ({"limit": "2", "before_id": "c"}, "ab", False),
        ({"before_id": "a"}, "", False),
        ({"before_id": "e", "after_id": "a", "limit": "2"}, "cd", True),
    ],
)
def test_a_page_of_the_list(query, shown, has_more):
    assert page(FIVE, query) == {
        "object": "list",
        "data": [one for one in FIVE if one["id"] in shown],
        "total_count": 5,
        "first_id": shown[0] if shown else None,
        "last_id": shown[-1] if shown else None,
        "has_more": has_more,
    }


def test_a_list_longer_than_any_page_is_whole_if_no_limit_is_asked_for():
    assert len(page(FIVE * 300, {})["data"]) == 1500


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
        ("offset=99999999999999999999", "offset"),
        ("sort=cheapest", "sort"),
        ("after_id=unheard-of", "after_id"),
        ("before_id=unheard-of", "before_id"),
    ],
)
def test_a_query_that_means_nothing_is_refused(customer, query, param):
    response = customer.get(f"/v1/models?{query}")
    assert (response.status_code, error_of(response)["param"]) == (400, param)


@pytest.fixture
def listed(customer, fake) -> list[str]:
    """What is listed, which is enough for three pages."""
    for slug in ("yyy", "zzz/last"):
        live_route(slug, fake.base_url)
    found = ids(customer.get("/v1/models").json()["data"])
    assert len(found) >= 3
    return found


@pytest.mark.parametrize("sort", ["newest", "latency-low-to-high"])
def test_the_query_is_obeyed_over_http(customer, listed, sort):
    found = ids(customer.get(f"/v1/models?sort={sort}").json()["data"])
    assert sorted(found) == sorted(listed)
    page = customer.get(f"/v1/models?sort={sort}&offset=1&limit=1").json()
    assert (ids(page["data"]), page["total_count"]) == (found[1:2], len(found))


def test_openais_package_lists_all(customer, listed):
    with openai_clients.client_of(customer) as client:
        assert [one.id for one in client.models.list()] == listed


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("start", ["first", "last"])
def test_anthropics_package_turns_the_pages(customer, listed, pages, start):
    limit = math.ceil(len(listed) / pages)
    begun = {"limit": limit} | ({} if start == "first" else {"before_id": listed[-1]})
    with anthropic_clients.client_of(customer) as client:
        found = [one.id for one in client.models.list(**begun)]
    assert sorted(found) == sorted(listed if start == "first" else listed[:-1])
