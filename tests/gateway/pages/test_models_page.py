"""What /models, the page of a model, /providers and /models.json show to everybody."""

import datetime as dt
import json

import pytest
from django.test import Client

from gateway.analytics import showcase
from gateway.models import Provider
from tests.support.factories import (
    make_model,
    make_price,
    make_provider,
    make_route,
    make_user,
)
from tests.support.gateway.served import folded, serve

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture
def account(alice):
    return alice.credit_account


def page(path: str = "/models", **query) -> str:
    response = Client().get(path, query)
    assert response.status_code == 200
    return response.content.decode()


def shown(**query) -> list[str]:
    """The slugs of the models that /models shows."""
    return [one.model.slug for one, _ in Client().get("/models", query).context["models"]]


def of_json(path: str = "/models.json") -> dict:
    return Client().get(path).json()


def make_offer(slug: str = "llama", **fields):
    return make_route(slug, provider=make_provider(f"p-{slug}", name=f"Host of {slug}"), **fields)


# --- /models -------------------------------------------------------------------------------------


def test_without_models_the_page_says_so():
    assert "No model can be used yet" in page()
    assert of_json()["models"] == []


def test_a_model_has_its_price_context_and_providers():
    price = make_price(
        input_nano=50_000_000, cached_input_nano=5_000_000, output_nano=1_250_000_000
    )
    route = make_offer(price=price)
    route.provider.privacy_policy_url = "https://host.example/privacy"
    route.provider.save()
    text = page()
    for expected in ("$0.05", "$0.005", "$1.25", "8,192", "Host of llama", "no traffic yet"):
        assert expected in text
    assert 'href="https://host.example/privacy"' in text


def test_the_price_is_that_of_the_cheapest_provider():
    dear = make_offer(price=make_price(input_nano=10**9))
    make_route("llama", price=make_price(input_nano=2 * 10**6))
    found = of_json()["models"][0]
    assert found["usd_per_million_tokens"]["input"] == "0.002"
    assert found["providers"][1]["slug"] == dear.provider.slug


@pytest.mark.parametrize("what", ["model", "provider", "route"])
def test_what_cannot_be_used_is_not_shown(what):
    route = make_offer()
    one = route if what == "route" else getattr(route, what)
    type(one).objects.filter(pk=one.pk).update(enabled=False)
    assert shown() == []
    assert Client().get("/models/llama").status_code == 404
    assert "Host of llama" not in page("/providers")


def test_figures_with_enough_samples_are_shown(account):
    route = make_offer()
    serve(route, account, 57, first_ms=200, writing_ms=1000, tokens=80)
    serve(route, account, 3, fault="silent")
    folded()
    text = page()
    for expected in ("95 / 95 %", "50+ / 50+", "80<small>50+"):
        assert expected in text
    measured = of_json()["models"][0]["measured"]["last_24_hours"]
    assert measured["uptime_percent"] == 95.0
    assert measured["samples_at_least"] == measured["streams_at_least"] == 50
    assert measured["first_token_ms"]["p50"] == pytest.approx(200, rel=0.05)
    assert measured["latency_ms"]["p95"] == pytest.approx(1200, rel=0.05)
    assert measured["tokens_per_second"] == 80


def test_figures_with_few_samples_are_not(account):
    serve(make_offer(), account, 19)
    folded()
    assert "too few requests to tell" in page()
    measured = of_json()["models"][0]["measured"]["last_30_days"]
    assert measured["uptime_percent"] is measured["tokens_per_second"] is None
    assert measured["samples_at_least"] == 0


def test_one_more_request_changes_no_published_figure(account):
    """Two looks at the page don't tell what one account did in between."""
    route = make_offer()
    serve(route, account, 30)
    folded()
    before = of_json()
    serve(route, account, 1)
    folded()
    after = of_json()
    assert {**before, "measured_at": None} == {**after, "measured_at": None}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["code", "llama"]),
        ({"q": "LLAMA"}, ["llama"]),
        ({"q": "nothing"}, []),
        ({"capability": "vision"}, ["code"]),
        ({"provider": "p-llama"}, ["llama"]),
        ({"order": "price"}, ["llama", "code"]),
        ({"order": "context"}, ["llama", "code"]),
        ({"order": "speed"}, ["code", "llama"]),
        ({"capability": "no such", "provider": "no such", "order": "x"}, ["code", "llama"]),
    ],
)
def test_models_are_found_and_ordered(query, expected):
    make_model("code", capabilities=["vision"])
    make_offer("code", price=make_price(input_nano=10**9))
    make_model("llama", context_length=100_000)
    make_offer("llama")
    assert shown(**query) == expected


def test_a_search_without_a_hit_says_so_and_is_escaped():
    make_offer()
    text = page(q="<script>")
    assert "No model fits" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


# --- One model -----------------------------------------------------------------------------------


def test_a_model_has_a_page_with_its_routes(account):
    route = make_offer("maker/llama-3", quantization="fp8")
    serve(route, account, 25)
    folded()
    text = page("/models/maker/llama-3")
    for expected in ("Host of maker/llama-3", "fp8", "100 / 100 %", "/v1/chat/completions"):
        assert expected in text


def test_a_model_without_traffic_has_a_page():
    make_offer()
    assert "no traffic yet" in page("/models/llama")


def test_a_model_that_only_embeds_is_asked_for_embeddings():
    make_model("bge", capabilities=["embedding"])
    make_offer("bge")
    assert "/v1/embeddings" in page("/models/bge")


def test_a_model_that_is_not_there_is_not_found():
    assert Client().get("/models/none").status_code == 404


# --- Under a person's choice ---------------------------------------------------------------------


@pytest.fixture
def kept():
    """A model with a provider of each class."""
    evidence = {"retention_evidence_date": dt.datetime.now(dt.UTC).date()}
    for retention in ("none", "abuse_30d", "stored"):
        provider = make_provider(f"of-{retention}", retention=retention, **evidence)
        make_route("kept", provider=provider)
        if retention != "none":
            make_route("keepers-only", provider=provider)


def page_of(user, path: str) -> str:
    client = Client()
    if user:
        client.force_login(user)
    return " ".join(client.get(path).text.split())


@pytest.mark.parametrize(
    ("choice", "said", "marked"),
    [
        (None, "A new account allows only providers that keep nothing.", 2),
        ("none", "Your privacy settings allow only providers that keep nothing.", 2),
        ("abuse_30d", "Your privacy settings allow also providers that keep up to 30 days", 1),
        ("stored", "Your privacy settings allow any provider", 0),
    ],
)
def test_a_models_page_says_what_a_choice_allows_and_others_would_add(kept, choice, said, marked):
    user = choice and make_user(provider_choice=choice)
    text = page_of(user, "/models/kept")
    assert said in text
    assert text.count("only if you allow it") == marked
    counts = ["one provider: no failover", "2 providers", "3 providers"][2 - marked :]
    for count in counts:
        assert f"<strong>{count}</strong>" in text
    assert ("/settings/privacy#providers" in text) == bool(marked)


def test_a_model_without_a_provider_says_that_it_needs_consent(kept, alice):
    assert "<strong>no provider without consent</strong>" in page_of(alice, "/models/keepers-only")
    text = page_of(alice, "/models")
    assert "no provider without consent; with <code>abuse_30d</code>: one provider" in text
    assert "one provider: no failover; with <code>abuse_30d</code>: 2 providers" in text
    assert text.count("only if you allow it") == 4


def test_evidence_that_is_too_old_is_called_so_on_the_models_page(kept, alice):
    date = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=90)
    Provider.objects.filter(slug="of-none").update(retention_evidence_date=date)
    text = page_of(alice, "/models/kept")
    assert "nothing kept beyond serving, evidence too old" in text
    assert "<strong>no provider without consent</strong>" in text


# --- /providers ----------------------------------------------------------------------------------


def test_providers_say_what_they_keep_and_since_when_that_is_known():
    today = dt.datetime.now(dt.UTC).date()
    provider = make_provider(
        "groq",
        name="Groq",
        retention="none",
        retention_evidence_url="https://host.example/data",
        retention_evidence_date=today,
        privacy_policy_url="https://host.example/privacy",
    )
    make_route(provider=provider)
    text = page("/providers")
    for expected in (
        "Groq",
        "nothing kept beyond serving",
        "https://host.example/data",
        "https://host.example/privacy",
        f'datetime="{today}"',
        "younger than 90 days",
    ):
        assert expected in text
    assert "only if you allow it" not in text


def test_a_provider_without_evidence_is_marked():
    make_route(provider=make_provider("vague"))
    assert "only if you allow it" in page("/providers")
    assert "only if you allow it" in page("/models/" + showcase.showcase().models[0].model.slug)


def test_evidence_that_is_too_old_is_called_so():
    today = dt.datetime.now(dt.UTC).date()
    source = {"retention": "none", "retention_evidence_url": "https://host.example/data"}
    for age, is_old in ((89, False), (90, True)):
        date = today - dt.timedelta(days=age)
        make_route(provider=make_provider(**source, retention_evidence_date=date))
        showcase._showcase.clear()
        assert ("too long ago to count" in page("/providers")) == is_old


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"self_hosted": True}, "on Kyma’s own machines"),
        (
            {"privacy_policy_url": "https://host.example/privacy"},
            "at a third party, in the places that its policy names",
        ),
        ({}, "at a third party, in places that Kyma doesn’t know"),
    ],
)
def test_a_provider_says_where_it_handles_a_request(fields, where):
    make_route(provider=make_provider(**fields))
    assert f"<dt>Where</dt>\n      <dd>{where}</dd>" in page("/providers")


def test_only_providers_in_use_are_listed():
    make_provider("idle", name="Idle Host")
    text = page("/providers")
    assert "Idle Host" not in text
    assert "No provider is in use yet" in text


# --- For programs, and how often it is read ------------------------------------------------------


@pytest.mark.parametrize("path", ["/models.json", "/status.json"])
def test_the_json_can_be_kept_for_a_minute(path):
    make_offer()
    response = Client().get(path)
    assert response["Cache-Control"] == "public, max-age=60"
    again = Client().get(path, headers={"If-None-Match": response["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/models", "/models/a", "/providers", "/status", "/models.json"])
def test_pages_take_the_same_few_queries_however_much_there_is(
    path, account, django_assert_max_num_queries
):
    for slug in ("a", "b", "c", "d"):
        serve(make_offer(slug), account, 2)
        make_route(slug)
    folded()
    with django_assert_max_num_queries(6):
        Client().get(path)


def test_who_asks_again_is_told_the_same_without_a_query(settings, django_assert_num_queries):
    settings.SHOWCASE_TTL_S = 60
    showcase._showcase.clear()
    make_offer()
    before = page()
    make_offer("another")
    with django_assert_num_queries(0):
        assert page() == before
    showcase._showcase.clear()
    assert "another" in page()


@pytest.mark.parametrize("path", ["/models", "/status", "/providers", "/models.json"])
def test_the_pages_only_show(path):
    assert Client().post(path).status_code == 405


def test_the_json_holds_no_key_and_no_address():
    route = make_offer()
    route.provider.set_api_key("sk-secret")
    route.provider.save()
    for path in ("/models.json", "/status.json"):
        text = json.dumps(of_json(path))
        assert route.provider.base_url not in text
        assert "secret" not in text
