"""Which routes a request is resolved to, and how many of them at the most."""

import asyncio

import pytest

from gateway.catalogue.entries import read_catalogue
from gateway.dialects.chat import request as chat_request
from gateway.routing import resolution
from tests.support.factories import make_caller, make_route

SAID = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def models(books, monkeypatch) -> list[str]:
    """Four models of four routes each."""
    slugs = ["a", "b", "c", "d"]
    for slug in 4 * slugs:
        make_route(slug)
    entries = read_catalogue()

    async def catalogue():
        return entries

    monkeypatch.setattr(resolution, "catalogue", catalogue)
    return slugs


@pytest.mark.parametrize(("named", "tried"), [(1, "aaa"), (2, "aabb"), (4, "aabbcc")])
def test_a_request_is_tried_over_a_few_routes_of_each_model_it_names(models, named, tried):
    first, *fallbacks = models[:named]
    request = chat_request.parse({"model": first, "models": fallbacks, "messages": SAID})
    found = asyncio.run(resolution.resolve(request, make_caller()))
    assert "".join(route.model for route in found.routes) == tried
