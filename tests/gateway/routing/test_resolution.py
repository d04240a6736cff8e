"""Which routes a request is resolved to, and how many of them at the most."""

import asyncio

import pytest

from gateway.catalogue.entries import read_catalogue
from gateway.dialects.chat import request as chat_request
from gateway.errors import NotFound
from gateway.routing import resolution
from tests.support.factories import make_caller, make_provider, make_route

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


# --- Pictures at web addresses -------------------------------------------------------------------

PIXEL = "data:image/png;base64,iVBORw0KGgo="
REMOTE = ["https://example.org/cat.png", "HTTP://10.0.0.1/secret"]


def asked_to_see(model: str, *urls: str):
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return chat_request.parse({"model": model, "messages": [{"role": "user", "content": parts}]})


@pytest.fixture
def seeing(books, monkeypatch) -> None:
    """A model that only the operator's own server has, and one that a hosted provider has too."""
    ours = make_provider("ours", self_hosted=True)
    make_route("own", provider=ours)
    make_route("both", provider=ours)
    make_route("both", provider=make_provider("theirs"))
    entries = read_catalogue()

    async def catalogue():
        return entries

    monkeypatch.setattr(resolution, "catalogue", catalogue)


def providers_for(request) -> list[str]:
    found = asyncio.run(resolution.resolve(request, make_caller()))
    return sorted(route.provider for route in found.routes)


@pytest.mark.parametrize("url", REMOTE)
def test_a_self_hosted_server_is_sent_no_address_of_a_picture(seeing, url):
    with pytest.raises(NotFound) as refusal:
        providers_for(asked_to_see("own", PIXEL, url))
    assert refusal.value.metadata["excluded_by"] == ["image_url:remote"]
    assert "Send each as data:image/…;base64,…" in refusal.value.message
    assert providers_for(asked_to_see("both", url)) == ["theirs"]


def test_a_picture_inside_the_request_goes_to_any_provider(seeing):
    assert providers_for(asked_to_see("own", PIXEL)) == ["ours"]
    assert providers_for(asked_to_see("both", PIXEL)) == ["ours", "theirs"]
