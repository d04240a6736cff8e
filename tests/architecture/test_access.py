"""What is alice's is a 404 for bob, at every address that the URL configuration knows."""

import itertools

import pytest
from django.test import Client

from tests.architecture.test_urls import PUBLIC
from tests.support.api_things import QUERIES as API_QUERIES
from tests.support.belongings import (
    GATEWAY,
    PAGES,
    PLACES,
    QUERIES,
    SHARED,
    Belongings,
    foreign_paths,
    owned_places,
    path_to,
    unknown_places,
)

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What answers its owner's GET by leading to another page.
REDIRECTS: set[str] = set()

WITH_OBJECTS = [route for route in PAGES if owned_places(route) and not unknown_places(route)]
OWN_PAGES = [route for route in PAGES if not route.places() and route.text not in PUBLIC]


def test_every_place_in_a_url_has_an_example():
    unknown = {place for route in PAGES + GATEWAY for place in unknown_places(route)}
    assert not unknown, (
        f"tests/support/belongings.py doesn't know what stands at {sorted(unknown)}. Add to "
        "PLACES how to make such a thing for a person, or to SHARED what everybody may name there."
    )


def test_every_example_has_a_place():
    places = {place for route in PAGES + GATEWAY for place in route.places()}
    assert places >= {*PLACES, *SHARED}


@pytest.mark.parametrize("route", WITH_OBJECTS, ids=lambda route: route.text)
def test_what_is_alices_is_hers_alone(route, alice, bob):
    answers = {}
    for method in METHODS:
        hers, his = Belongings(alice), Belongings(bob)  # New: a method may end what it is about.
        refusals = {ask(bob, method, path) for path in foreign_paths(route, mine=his, theirs=hers)}
        answer = ask(alice, method, path_to(route, itertools.repeat(hers)))
        assert refusals == {405 if answer == 405 else 404}, f"bob may {method}"
        if answer != 405:
            answers[method] = answer
    assert answers
    assert 404 not in answers.values(), "alice must reach what bob can't"
    assert answers.get("GET", 200) == (302 if route.text in REDIRECTS else 200)


@pytest.mark.parametrize(("path", "parameter", "thing"), QUERIES)
def test_naming_alices_things_tells_bob_nothing(path, parameter, thing, alice, bob):
    hers = Belongings(alice)
    answer = sign_in(bob).get(path, {parameter: thing(hers)})
    assert answer.status_code in (200, 404)
    assert shown_of(hers, answer) == []


@pytest.mark.parametrize("route", OWN_PAGES, ids=lambda route: route.text)
def test_bobs_own_pages_tell_nothing_of_alice(route, alice, bob):
    hers = Belongings(alice)
    assert hers.marks()
    path = f"/{route.text}"
    answer = sign_in(bob).get(path, API_QUERIES.get(("get", path), {}))
    assert answer.status_code in (200, 302, 405)
    assert shown_of(hers, answer) == []


def sign_in(person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def ask(person, method: str, path: str) -> int:
    is_api = path.startswith("/api/")
    body, kind = ("{}", "application/json") if is_api else ("", "multipart/form-data; boundary=x")
    return sign_in(person).generic(method, path, body, content_type=kind).status_code


def shown_of(belongings: Belongings, answer) -> list[str]:
    text = (answer.getvalue() if answer.streaming else answer.content).decode(errors="replace")
    return [mark for mark in belongings.marks() if mark in text]
