"""Models and prices at /api/, for everybody."""

import pytest
from django.test import Client

from tests.support.factories import make_model, make_price, make_provider, make_route

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture
def routes():
    model = make_model("open/small", capabilities=["tools"], maker="Open")
    dear, cheap = make_provider("dear"), make_provider("cheap", self_hosted=True)
    make_route(model.slug, provider=dear, price=make_price(input_nano=500_000_000))
    return make_route(model.slug, provider=cheap)


def test_a_model_names_its_providers_the_cheapest_first(routes):
    (told,) = Client().get("/api/models").json()["data"]
    assert (told["id"], told["maker"], told["capabilities"]) == ("open/small", "Open", ["tools"])
    assert [one["slug"] for one in told["providers"]] == ["cheap", "dear"]
    assert [one["states_retention"] for one in told["providers"]] == [True, False]
    assert [one["needed_choice"] for one in told["providers"]] == ["none", "stored"]
    assert Client().get("/api/models/open/small").json() == told


def test_prices_are_exact(routes):
    cheap, dear = Client().get("/api/prices").json()["data"]
    assert (cheap["model"], cheap["provider"]) == ("open/small", "cheap")
    assert cheap["price_version"] == str(routes.price_version_id)
    assert cheap["input"] == {"usd": "0.1", "nano": 100_000_000}
    assert dear["input"]["nano"] == 500_000_000


def test_what_can_t_be_used_is_not_listed(routes):
    routes.model.enabled = False
    routes.model.save()
    assert Client().get("/api/models").json()["data"] == []
    assert Client().get("/api/models/open/small").status_code == 404


def test_neither_keys_nor_addresses_of_providers_are_told(routes):
    routes.provider.set_api_key("provider-secret")
    routes.provider.save()
    for path in ("/api/models", "/api/prices"):
        text = Client().get(path).content.decode()
        assert "provider-secret" not in text
        assert routes.provider.base_url not in text


def test_public_answers_may_be_cached_for_a_minute(routes):
    assert Client().get("/api/models")["Cache-Control"] == "public, max-age=60"
