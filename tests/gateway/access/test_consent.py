"""P7: only routes that a person's choice allows are used, whatever providers state and when."""

import datetime as dt
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from accounts.models import ProviderChoice
from gateway.access.consent import Standing, allowed, allows
from gateway.catalogue.entries import ModelEntry
from gateway.models import Provider

TODAY = dt.date(2026, 12, 1)
CHOICES = ["", *ProviderChoice.values]
CLASSES = Provider.Retention.values
AGES = st.none() | st.integers(-400, 400) | st.sampled_from([-2, -1, 0, 59, 60, 89, 90])

statements = st.builds(
    lambda retention, age, is_ours: Provider(
        retention=retention,
        self_hosted=is_ours,
        retention_evidence_date=None if age is None else TODAY - dt.timedelta(days=age),
    ),
    st.sampled_from(CLASSES),
    AGES,
    st.booleans(),
)


def may_be_used(provider: Provider, choice: str) -> bool:
    """The promise, written a second time: by hand, for each choice."""
    date = provider.retention_evidence_date
    is_evident = date is not None and -1 <= (TODAY - date).days < 90
    states_nothing_kept = provider.self_hosted or (is_evident and provider.retention == "none")
    if choice in ("", "none"):
        return states_nothing_kept
    if choice == "abuse_30d":
        return states_nothing_kept or (is_evident and provider.retention == "abuse_30d")
    return True


def model_of(providers: list[Provider]) -> ModelEntry:
    routes = [SimpleNamespace(needed_choice=one.needed_choice(TODAY)) for one in providers]
    return ModelEntry("m", "M", "", "", "", 0, 8, None, (), tuple(routes))


@given(st.lists(statements, max_size=6), st.sampled_from(CHOICES))
@example([Provider(retention="none", retention_evidence_date=TODAY - dt.timedelta(days=90))], "")
def test_a_route_is_used_only_if_its_provider_is_within_the_choice(providers, choice):
    model = model_of(providers)
    used = [one for one in model.candidates if one in model.admitted(choice)]
    wanted = [
        route
        for route, provider in zip(model.candidates, providers, strict=True)
        if may_be_used(provider, choice)
    ]
    assert used == wanted


@given(st.lists(statements, max_size=6), st.sampled_from(CHOICES))
def test_what_consent_would_add_is_what_it_adds(providers, choice):
    model = model_of(providers)
    standing = Standing.of(choice, (one.needed_choice for one in model.candidates))
    assert standing.usable == len(model.admitted(choice))
    before = standing.usable
    for wider in ProviderChoice.values:
        found = [one.providers for one in standing.additions if one.choice == wider]
        after = len(model.admitted(wider))
        if allows(choice, wider):
            assert found == []
        else:
            assert found == ([after] if after > before else [])
            before = after


@pytest.mark.parametrize("choice", CHOICES)
def test_a_wider_choice_takes_nothing_away(choice):
    assert allowed(choice) == ProviderChoice.values[: max(1, CHOICES.index(choice))]


@pytest.mark.parametrize(
    ("choice", "needs", "count", "hint"),
    [
        ("", [], "no provider", ""),
        ("", ["none"], "one provider: no failover", ""),
        ("none", ["none", "none"], "2 providers", ""),
        (
            "",
            ["abuse_30d"],
            "no provider without consent",
            "Allowing providers that keep up to 30 days against abuse (abuse_30d) gives one "
            "provider: no failover.",
        ),
        (
            "abuse_30d",
            ["none", "abuse_30d", "stored"],
            "2 providers",
            "Allowing providers that store what they are sent, or don't say (stored) gives "
            "3 providers.",
        ),
    ],
)
def test_it_is_said_in_words(choice, needs, count, hint):
    standing = Standing.of(choice, needs)
    assert (standing.count, standing.hint) == (count, hint)
