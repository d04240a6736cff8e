"""Aliases: a name for a purpose, resolved to a model that can be used now."""

import uuid

import pytest

from gateway.catalogue import aliases
from gateway.catalogue import files as catalogue_files
from gateway.catalogue.aliases import ALIASES, model_of
from tests.gateway.conftest import live_route
from tests.support.gateway.receipts import events_of, refused
from tests.support.live import Customer
from tests.support.provider.scripts import answer, error

NAMES = {"best", "fast", "cheap", "code", "reasoning", "agent", "vision"}
CAPABILITY = {"code": "code", "reasoning": "reasoning", "agent": "tools", "vision": "vision"}


def test_there_is_one_for_each_purpose():
    assert set(ALIASES) == NAMES


def test_each_names_models_of_the_catalogue_that_can_do_what_it_is_for():
    models = {one.model.slug: one.model for one in catalogue_files.read().listings}
    for name, slugs in ALIASES.items():
        assert len(set(slugs)) == len(slugs)
        for slug in slugs:
            assert slug in models
            assert name not in CAPABILITY or CAPABILITY[name] in models[slug].capabilities


def test_no_model_has_the_name_of_an_alias():
    assert not NAMES & {one.model.slug for one in catalogue_files.read().listings}


def test_the_first_usable_one_is_meant(monkeypatch):
    monkeypatch.setitem(aliases.ALIASES, "fast", ["a", "b", "c"])
    assert model_of("fast", {"b", "c"}.__contains__) == "b"
    assert model_of("fast", set().__contains__) is None
    assert model_of("slow", {"a"}.__contains__) is None


@pytest.mark.parametrize("asked", ["cheap", "cheap:floor"])
def test_a_request_by_alias_is_answered_by_its_model_and_says_so(gateway, fake, asked):
    live_route("smollm2-135m", fake.base_url)
    customer = Customer(gateway)
    response = customer.ask("Hi", model=asked)
    assert response.status_code == 200, response.text
    assert response.json()["model"] == response.headers["x-kyma-model"] == "smollm2-135m"
    assert response.headers["x-kyma-alias"] == "cheap"
    row = customer.settled_request()
    assert (row.model, row.alias) == ("smollm2-135m", "cheap")


def test_a_model_by_its_own_name_has_no_alias(customer):
    assert "x-kyma-alias" not in customer.ask("Hi").headers
    assert customer.settled_request().alias == ""


def test_an_alias_is_listed_only_if_it_resolves(gateway, fake):
    live_route("smollm2-135m", fake.base_url)
    models = {one["id"]: one for one in Customer(gateway).get("/v1/models").json()["data"]}
    assert models["cheap"]["alias_of"] == "smollm2-135m"
    assert models["cheap"]["pricing"] == models["smollm2-135m"]["pricing"]
    assert "vision" not in models
    customer = Customer(gateway)
    assert customer.get("/v1/models/cheap").json()["alias_of"] == "smollm2-135m"
    assert customer.get("/v1/models/vision").status_code == 404


@pytest.mark.parametrize("asked", ["vision", "vision:nitro"])
def test_an_alias_that_resolves_to_nothing_says_so(customer, asked):
    told = refused(customer.ask("Hi", model=asked), 404, "not_found")
    assert told["code"] == "model_not_found"
    assert told["message"] == (
        "None of the models that vision stands for can be used now. "
        "GET /v1/models lists those that can be used."
    )


# --- Fallbacks: `models`


@pytest.fixture
def broken(committed, fake) -> str:
    """A model whose only route refuses every connection."""
    slug = f"broken-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.closed_port())
    return slug


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
def test_a_fallback_answers_when_the_model_can_not(customer, broken, streamed):
    response = customer.ask("Hi", model=broken, models=[broken, "scripted"], stream=streamed)
    assert response.status_code == 200
    assert response.headers["x-kyma-model"] == "scripted"
    assert response.headers["x-kyma-attempts"] == "2"
    if streamed:
        assert {one["model"] for one in events_of(response) if one != "[DONE]"} == {"scripted"}
    row = customer.settled_request()
    assert (row.model, [one["status"] for one in row.attempts]) == ("scripted", [None, 200])


def test_models_alone_will_do(customer):
    body = {"models": ["scripted"], "messages": [{"role": "user", "content": "Hi"}]}
    assert customer.post(body).headers["x-kyma-model"] == "scripted"


def test_a_fallback_that_does_not_exist_is_passed_over(customer):
    response = customer.ask("Hi", model="no such model", models=["nor this", "scripted"])
    assert response.headers["x-kyma-model"] == "scripted"


def test_without_any_model_that_exists_it_is_refused(customer):
    response = customer.ask("Hi", model="no such model", models=["nor this"])
    assert refused(response, 404, "not_found")["code"] == "model_not_found"


def test_what_one_model_declines_the_next_may_accept(customer, fake):
    slug = f"picky-{uuid.uuid4().hex[:8]}"
    live_route(slug, fake.base_url)
    prompt = fake.script_attempts([error(400, "too long for me"), answer("Fine")])
    response = customer.ask(prompt, model=slug, models=["scripted"])
    assert response.json()["choices"][0]["message"]["content"] == "Fine"
    assert response.headers["x-kyma-model"] == "scripted"
