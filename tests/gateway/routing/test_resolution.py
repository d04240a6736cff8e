"""Which routes a request is resolved to, and how many of them at the most."""

import asyncio
import datetime as dt

import pytest

from gateway.catalogue import aliases
from gateway.catalogue.entries import read_catalogue
from gateway.dialects.chat import request as chat_request
from gateway.errors import GatewayError, ModelNotFound, NotFound
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


# --- What consent would add ----------------------------------------------------------------------


@pytest.fixture
def kept(books, monkeypatch) -> None:
    """A model whose providers keep data: two for a time, one for ever."""
    today = dt.datetime.now(dt.UTC).date()
    for name, retention in (("x", "abuse_30d"), ("y", "abuse_30d"), ("z", "stored")):
        provider = make_provider(name, retention=retention, retention_evidence_date=today)
        make_route("kept", provider=provider)
    entries = read_catalogue()

    async def catalogue():
        return entries

    monkeypatch.setattr(resolution, "catalogue", catalogue)
    monkeypatch.setitem(aliases.ALIASES, "fast", ["gone", "kept"])


def refused(choice: str, **body) -> GatewayError:
    request = chat_request.parse({"messages": SAID, **body})
    with pytest.raises(GatewayError) as refusal:
        asyncio.run(resolution.resolve(request, make_caller(provider_choice=choice)))
    return refusal.value


@pytest.mark.parametrize("choice", ["", "none"])
def test_a_refusal_says_what_each_choice_would_add(kept, choice):
    refusal = refused(choice, model="kept")
    assert refusal.code == "no_route"
    assert refusal.metadata["with_consent"] == {"abuse_30d": 2, "stored": 3}
    assert refusal.message == (
        "This account allows no provider of kept. Allowing providers that keep up to 30 days "
        "against abuse (abuse_30d) gives 2 providers. Allowing providers that store what they are "
        "sent, or don't say (stored) gives 3 providers. Choose in the privacy settings, at "
        "/settings/privacy."
    )


@pytest.mark.parametrize(
    ("body", "reasons", "added"),
    [
        ({"provider": {"only": ["z"]}}, ["provider.only"], {"stored": 1}),
        ({"provider": {"zdr": True}}, ["data_policy:zdr"], {}),
    ],
)
def test_it_counts_only_providers_that_the_request_allows(kept, body, reasons, added):
    refusal = refused("abuse_30d", model="kept", **body)
    assert refusal.metadata["excluded_by"] == [resolution.DATA_POLICY, *reasons]
    assert refusal.metadata["with_consent"] == added
    assert ("/settings/privacy" in refusal.message) == bool(added)


def test_so_does_the_refusal_of_an_alias(kept):
    refusal = refused("", model="fast")
    assert "(abuse_30d) gives 2 providers" in refusal.message
    assert "/settings/privacy" in refusal.message
    request = chat_request.parse({"model": "fast", "messages": SAID})
    found = asyncio.run(resolution.resolve(request, make_caller(provider_choice="abuse_30d")))
    assert sorted(route.provider for route in found.routes) == ["x", "y"]


def test_nothing_is_promised_of_what_the_key_may_not_use(kept):
    caller = make_caller(provider_choice="", allowed_models=frozenset({"other"}))
    entry = read_catalogue()["kept"]
    assert resolution.advice(entry, caller) == ""
    request = chat_request.parse({"model": "fast", "messages": SAID})
    with pytest.raises(ModelNotFound) as refusal:
        asyncio.run(resolution.resolve(request, caller))
    assert "/settings/privacy" not in refusal.value.message
