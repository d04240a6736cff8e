"""The models as pages show them: without the providers' keys, and hardly older than a moment."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from gateway import short_cache
from gateway.catalogue import entries
from gateway.models import Route, catalogue
from tests.support.factories import make_provider, make_route

PAGES = ["/", "/docs", "/api/models", "/api/prices", "/chat"]


@pytest.fixture
def a_route(books) -> Route:
    """A route whose provider has a key, which anybody may use."""
    provider = make_provider(self_hosted=True)
    provider.set_api_key("provider-secret")
    provider.save()
    return make_route("gpt-oss-20b", provider=provider)


@pytest.fixture
def reader(alice) -> Client:
    client = Client()
    client.force_login(alice)
    return client


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch, settings):
    """Time as the caches see it, with their lifetime in production."""
    settings.CACHE_TTL_S = 1.0
    monkeypatch.setattr(short_cache, "time", Clock())
    entries._public_catalogue.clear()
    yield short_cache.time
    entries._public_catalogue.clear()  # The next test must not see these rows.


@pytest.mark.parametrize("path", PAGES)
def test_no_page_opens_or_reads_a_providers_key(path, a_route, reader, monkeypatch):
    opened = []
    monkeypatch.setattr(catalogue, "open_under_master_key", lambda *_: opened.append(path) or b"")
    with CaptureQueriesContext(connection) as asked:
        page = reader.get(path)
    assert page.status_code == 200
    assert "gpt-oss-20b" in page.content.decode()
    assert not opened
    assert not [one for one in asked.captured_queries if '"api_key_sealed"' in one["sql"]]


def test_a_public_route_holds_neither_key_nor_address(a_route):
    (route,) = entries.public_catalogue()["gpt-oss-20b"].candidates
    (candidate,) = entries.read_catalogue()["gpt-oss-20b"].candidates
    for secret in ("api_key", "base_url", "upstream_model", "cost_price"):
        assert hasattr(candidate, secret)
        assert not hasattr(route, secret)
    assert candidate.api_key == "provider-secret"


def test_whoever_looks_again_costs_no_query_for_the_catalogue(
    a_route, clock, django_assert_num_queries
):
    before = Client().get("/docs").text
    with django_assert_num_queries(0):
        assert Client().get("/docs").text == before


def test_what_is_switched_off_is_shown_for_a_second_at_most(a_route, clock):
    assert "gpt-oss-20b" in Client().get("/api/models").text
    Route.objects.update(enabled=False)
    clock.now += 0.9
    assert "gpt-oss-20b" in Client().get("/api/models").text
    clock.now += 0.1
    assert "gpt-oss-20b" not in Client().get("/api/models").text


def test_a_data_policy_counts_at_once(a_route, clock, alice, reader):
    Route.objects.filter(pk=a_route.pk).update(provider=make_provider())
    assert "gpt-oss-20b" not in reader.get("/chat").text
    User.objects.filter(pk=alice.pk).update(provider_choice="stored")
    assert "gpt-oss-20b" in reader.get("/chat").text


@pytest.mark.parametrize("choice", ["", "none", "abuse_30d", "stored"])
def test_a_data_policy_admits_all_or_those_that_keep_nothing(a_route, choice):
    silent = make_provider("silent")
    make_route("gpt-oss-20b", provider=silent)
    make_route("nowhere-else", provider=silent)
    providers = {slug: len(entry.candidates) for slug, entry in entries.offered(choice).items()}
    all_of_them = {"gpt-oss-20b": 2, "nowhere-else": 1}
    assert providers == (all_of_them if choice == "stored" else {"gpt-oss-20b": 1})
