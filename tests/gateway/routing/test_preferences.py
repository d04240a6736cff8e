"""Which routes a request admits, and in which order they are tried."""

from types import SimpleNamespace

import pytest

from billing.pricing import Price
from gateway.routing.health import RouteHealth
from gateway.routing.preferences import Preferences, admitted, ordered, split_suffix

USD = 10**9  # nano-dollars


def route(name: str, usd: float = 1, **fields) -> SimpleNamespace:
    price = Price(input=int(usd * USD), cached_input=0, output=0)
    given = {
        "quantization": "",
        "retention": "none",
        "states_retention": True,
        "unsupported": frozenset(),
        "passthrough": False,
        **fields,
    }
    return SimpleNamespace(route_id=name, provider=name, price=price, **given)


def wishes(provider: dict | None = None, *, sort=None, fields=()) -> Preferences:
    return Preferences.of(provider or {}, sort=sort, fields=frozenset(fields))


def order(routes, preferences, latencies=None, open_ones=(), session="", speeds=None) -> list[str]:
    health = {one.route_id: RouteHealth() for one in routes}
    for name, latency in (latencies or {}).items():
        health[name].succeeded(0, latency)
    for name, speed in (speeds or {}).items():
        health[name].wrote(speed)
    for name in open_ones:
        for _ in range(20):
            health[name].failed(0)
    found = ordered(tuple(routes), preferences, health.get, 0, session)
    return [one.route_id for one in found]


@pytest.mark.parametrize(
    ("provider", "kept", "excluded_by"),
    [
        ({}, "abc", []),
        ({"only": ["A", "b"]}, "ab", ["provider.only"]),
        ({"ignore": ["a"]}, "bc", ["provider.ignore"]),
        ({"order": ["c"]}, "abc", []),
        ({"order": ["c"], "allow_fallbacks": False}, "c", ["provider.order"]),
        ({"quantizations": ["fp8"]}, "b", ["provider.quantizations"]),
        ({"quantizations": ["FP8", "unknown"]}, "abc", []),
        ({"max_price": {"prompt": 2}}, "ab", ["provider.max_price"]),
        ({"max_price": {"prompt": "1.5", "completion": 0}}, "a", ["provider.max_price"]),
        ({"max_price": {"prompt": None, "image": None}}, "abc", []),
        ({"data_collection": "deny"}, "ab", ["provider.data_collection"]),
        ({"zdr": True}, "ab", ["data_policy:zdr"]),
        ({"require_parameters": True}, "bc", ["provider.require_parameters"]),
        ({"only": ["a"], "ignore": ["a"]}, "", ["provider.only", "provider.ignore"]),
    ],
)
def test_a_wish_keeps_the_routes_that_fulfil_it(provider, kept, excluded_by):
    routes = (
        route("a", 1, unsupported=frozenset({"seed"})),
        route("b", 2, quantization="fp8"),
        route("c", 3, retention="stored"),
    )
    found, reasons = admitted(routes, wishes(provider, fields=["seed"]))
    assert "".join(one.provider for one in found) == kept
    assert reasons == excluded_by


def test_who_requires_all_parameters_is_served_where_none_is_dropped():
    routes = (
        route("plain"),
        route("passing", passthrough=True),
        route("picky", passthrough=True, unsupported=frozenset({"new_field"})),
    )
    provider = {"require_parameters": True}
    strict = Preferences.of(
        provider, sort=None, fields=frozenset({"seed"}), unknown=frozenset({"new_field"})
    )
    found, reasons = admitted(routes, strict)
    assert [one.provider for one in found] == ["passing"]
    assert reasons == ["provider.require_parameters"]
    found, _ = admitted(routes, wishes(provider, fields=["seed"]))
    assert len(found) == 3


def test_who_requires_what_the_model_can_not_do_is_served_by_nobody():
    tools, sampling = frozenset({"tools"}), frozenset({"seed"})
    for fields, left in ((tools, 0), (sampling, 1)):
        strict = Preferences.of(
            {"require_parameters": True}, sort=None, fields=fields, impossible=tools
        )
        found, _ = admitted((route("any"),), strict)
        assert len(found) == left


@pytest.mark.parametrize(
    ("wish", "reason"),
    [({"data_collection": "deny"}, "provider.data_collection"), ({"zdr": True}, "data_policy:zdr")],
)
def test_who_wants_nothing_kept_is_not_served_on_evidence_that_is_too_old(wish, reason):
    routes = (route("new"), route("old", states_retention=False))
    found, reasons = admitted(routes, wishes(wish))
    assert [one.provider for one in found] == ["new"]
    assert reasons == [reason]


def test_the_cheapest_comes_first_and_an_open_breaker_last():
    routes = [route("dear", 3), route("cheap", 1), route("middle", 2)]
    assert order(routes, wishes()) == ["cheap", "middle", "dear"]
    assert order(routes, wishes(), open_ones=["cheap"]) == ["middle", "dear", "cheap"]


def test_among_those_nearly_as_cheap_the_faster_comes_first():
    routes = [route("slow", 1), route("fast", 1.1), route("faster", 1.2)]
    latencies = {"slow": 900, "fast": 300, "faster": 100}
    assert order(routes, wishes(), latencies) == ["fast", "slow", "faster"]


def test_sorted_by_throughput_the_fastest_writer_comes_first():
    routes = [route("mute"), route("soon"), route("fast"), route("new", 9)]
    speeds = {"mute": 0, "soon": 20, "fast": 200}
    latencies = {"mute": 1, "soon": 10, "fast": 900}
    sorts = [wishes({"sort": "throughput"}), wishes(sort="throughput")]
    order_of_speed = ["new", "fast", "soon", "mute"]  # What nobody has tried yet is worth a try.
    for preferences in sorts:
        assert order(routes, preferences, latencies, speeds=speeds) == order_of_speed


@pytest.mark.parametrize("sort", ["latency", "throughput"])
def test_sorted_by_speed_the_price_only_breaks_ties(sort):
    routes = [route("cheap", 1), route("fast", 9)]
    latencies = {"cheap": 900, "fast": 100}
    assert order(routes, wishes({"sort": sort}), latencies) == ["fast", "cheap"]
    assert order(routes, wishes({"sort": {"by": sort}}), latencies) == ["fast", "cheap"]


@pytest.mark.parametrize(
    ("preferred", "in_order"),
    [
        ({"preferred_max_latency": 0.5}, ["fast", "new", "late", "mute"]),
        ({"preferred_max_latency": {"p50": 9, "p90": 0.5}}, ["fast", "new", "late", "mute"]),
        ({"preferred_min_throughput": 50}, ["late", "fast", "new", "mute"]),
        ({"preferred_min_throughput": {"p50": 50, "p99": 1}}, ["late", "fast", "new", "mute"]),
        (
            {"preferred_min_throughput": 50, "preferred_max_latency": 0.1},
            ["new", "late", "mute", "fast"],
        ),
        ({"preferred_max_latency": {}, "preferred_min_throughput": None}, "by price"),
        ({"preferred_max_latency": 99, "preferred_min_throughput": 0}, "by price"),
    ],
)
def test_those_slower_than_preferred_come_last(preferred, in_order):
    routes = [route("late", 1), route("mute", 2), route("fast", 3), route("new", 4)]
    speeds = {"late": 90, "mute": 5, "fast": 200}
    latencies = {"late": 900, "mute": 700, "fast": 300}
    by_price = ["late", "mute", "fast", "new"]
    expected = by_price if in_order == "by price" else in_order
    assert order(routes, wishes(preferred), latencies, speeds=speeds) == expected


def test_a_preferred_speed_excludes_nobody_and_yields_to_what_is_broken_or_named():
    routes = (route("slow", 1), route("fast", 2))
    preferred = {"preferred_max_latency": 0.5}
    found, reasons = admitted(routes, wishes(preferred))
    assert (found, reasons) == (routes, [])
    latencies = {"slow": 900, "fast": 100}
    assert order(routes, wishes(preferred), latencies) == ["fast", "slow"]
    assert order(routes, wishes(preferred), latencies, open_ones=["fast"]) == ["slow", "fast"]
    named = wishes(preferred | {"order": ["slow"]})
    assert order(routes, named, latencies) == ["slow", "fast"]


def test_a_session_leaves_a_route_that_is_slower_than_preferred():
    routes = [route("a"), route("b")]
    kept, other = order(routes, wishes(), session="s")
    preferred = wishes({"preferred_max_latency": 0.5})
    assert order(routes, preferred, {kept: 100, other: 100}, session="s") == [kept, other]
    assert order(routes, preferred, {kept: 900, other: 100}, session="s") == [other, kept]


def test_sorted_by_price_the_speed_only_breaks_ties():
    routes = [route("fast", 1.05), route("cheap", 1)]
    assert order(routes, wishes(sort="price"), {"fast": 1, "cheap": 9}) == ["cheap", "fast"]


def test_a_named_order_comes_before_everything_else():
    routes = [route("a", 1), route("b", 2), route("c", 3)]
    assert order(routes, wishes({"order": ["c", "b"]}), open_ones=["c"]) == ["c", "b", "a"]


def test_without_fallbacks_only_the_first_is_tried():
    routes = [route("a", 2), route("b", 1)]
    assert order(routes, wishes({"allow_fallbacks": False})) == ["b"]


def test_without_fallbacks_all_of_a_named_order_are_tried():
    routes = [route("a", 1), route("b", 2)]
    named = wishes({"order": ["b", "a"], "allow_fallbacks": False})
    assert order(routes, named) == ["b", "a"]


@pytest.mark.parametrize(
    ("slug", "plain", "sort"),
    [
        ("m", "m", None),
        ("m:nitro", "m", "throughput"),
        ("m:floor", "m", "price"),
        ("m:8b", "m:8b", None),
    ],
)
def test_a_suffix_says_how_to_sort(slug, plain, sort):
    assert split_suffix(slug) == (plain, sort)


def test_an_explicit_sort_beats_the_suffix():
    assert wishes({"sort": "price"}, sort="throughput").sort == "price"
