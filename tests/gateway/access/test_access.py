"""What is alice's is a 404 for bob's keys, at every address of /v1."""

import itertools

import pytest

from tests.support.belongings import GATEWAY, Belongings, foreign_paths, owned_places, path_to
from tests.support.gateway.http_client import send
from tests.support.gateway.key_manager import Manager

METHODS = ("GET", "POST", "PATCH", "DELETE")
WITH_OBJECTS = [route for route in GATEWAY if owned_places(route)]
READS = [route for route in GATEWAY if not route.places()]


@pytest.fixture
def alice(gateway):
    return Manager(gateway)


@pytest.fixture
def bob(gateway):
    return Manager(gateway)


@pytest.mark.parametrize("route", WITH_OBJECTS, ids=lambda route: route.text)
def test_what_is_alices_is_hers_alone(route, alice, bob):
    answers = {}
    for method in METHODS:
        hers, his = Belongings(alice.user), Belongings(bob.user)
        paths = foreign_paths(route, mine=his, theirs=hers)
        refusals = {status for path in paths for status in ask(bob, method, path)}
        answer = min(ask(alice, method, path_to(route, itertools.repeat(hers))))
        assert refusals <= {403, 404, 405}, f"bob may {method}"
        if answer != 405:
            assert 404 in refusals
            answers[method] = answer
    assert set(answers.values()) <= {200, 400}
    assert answers["GET"] == 200


@pytest.mark.parametrize("route", READS, ids=lambda route: route.text)
def test_what_bob_reads_tells_nothing_of_alice(route, alice, bob):
    marks = {alice.key.name, alice.user.email, alice.key.id.hex, alice.management_key.id.hex}
    for key in (bob.key_text, bob.management_text):
        text = read(bob, key, f"/{route.text}").text
        assert [mark for mark in marks - {bob.key.name} if mark in text] == []


def ask(person: Manager, method: str, path: str) -> set[int]:
    """What is answered to either key of a person."""
    keys = (person.key_text, person.management_text)
    return {read(person, key, path, method).status_code for key in keys}


def read(person: Manager, key: str, path: str, method: str = "GET"):
    headers = {"Authorization": f"Bearer {key}"}
    return send(person.gateway, method, path, headers=headers, json={})
