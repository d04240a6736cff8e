"""What can be read at /v1: the models, the credit, the receipts. Each sees only its own."""

import asyncio
import datetime as dt
import json
import uuid
from decimal import Decimal
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest

from accounts.models import ProviderChoice, User
from billing.pricing import NANO_PER_USD, cost_lines
from gateway.access.consent import allows
from gateway.models import ApiRequest, Model, Provider, Route
from gateway.receipts.generation import usage_of as usage_of_row
from gateway.serving import settlement
from gateway.serving.exchange import ClientGone, Exchange
from gateway.v1 import guards
from privacy import provider_policy
from tests.gateway.conftest import live_route
from tests.support.factories import make_caller, make_price
from tests.support.gateway.http_client import error_of
from tests.support.live import USD, Customer, eventually
from tests.support.provider.scripts import Bytes, Event, Head, Pause, answer, chunk, error, usage_of

NO_SUCH_MODEL = "There is no such model. GET /v1/models lists those that can be used."


@pytest.fixture
def customer(gateway):
    """Somebody who may ask as often as a test polls."""
    return Customer(gateway, unlimited=True)


def listed(customer) -> set[str]:
    return {model["id"] for model in customer.get("/v1/models").json()["data"]}


def exactly(response) -> dict:
    """The JSON of a response, its numbers as they were written."""
    return json.loads(response.text, parse_float=Decimal)


def test_a_fault_of_ours_is_logged_as_one(monkeypatch):
    record = logged_of(ZeroDivisionError, monkeypatch)
    assert record == ("kyma-failed", 500, "server")


@pytest.mark.parametrize("end", [ClientGone, asyncio.CancelledError])
def test_a_client_that_hangs_up_is_no_fault_of_ours(monkeypatch, end):
    assert logged_of(end, monkeypatch, is_client_gone=lambda: True) == ("client-gone", 499, "")


def test_a_process_that_ends_is_no_client_that_hung_up(monkeypatch):
    record = logged_of(asyncio.CancelledError, monkeypatch)
    assert record == ("kyma-failed", 500, "server")


def logged_of(end: type[BaseException], monkeypatch, **members) -> tuple[str, int, str]:
    """The row of a read that ends like this: its outcome, status and type of error."""
    logged = []
    caller = make_caller(provider_choice="none")
    monkeypatch.setattr(Exchange, "authenticate", AsyncMock(return_value=caller))
    monkeypatch.setattr(settlement, "log", lambda record, content: logged.append(record))
    view = guards.logged("balance")(AsyncMock(side_effect=end))
    exchange = Exchange(headers={}, query={}, ip="", receive=None, **members)
    request = SimpleNamespace(exchange=exchange)
    with pytest.raises(end):
        asyncio.run(view(request))
    (record,) = logged
    return record.outcome, record.status, record.error_type


# Models


SWITCHES = {
    "model": lambda route, on: Model.objects.filter(pk=route.model_id).update(enabled=on),
    "provider": lambda route, on: Provider.objects.filter(pk=route.provider_id).update(enabled=on),
    "route": lambda route, on: Route.objects.filter(pk=route.pk).update(enabled=on),
}


@pytest.mark.parametrize("what", SWITCHES)
def test_what_is_switched_off_is_neither_listed_nor_shown_nor_used(customer, fake, what):
    slug = f"switch/{what}"
    route = live_route(slug, fake.base_url)
    SWITCHES[what](route, True)
    eventually(lambda: slug in listed(customer))

    SWITCHES[what](route, False)
    eventually(lambda: slug not in listed(customer))
    shown = customer.get(f"/v1/models/{slug}")
    assert (shown.status_code, error_of(shown)["message"]) == (404, NO_SUCH_MODEL)
    used = customer.ask("Hello", model=slug)
    assert used.status_code == 400
    assert error_of(used)["message"].startswith(f'There is no model "{slug}".')
    assert error_of(used)["param"] == "model"

    SWITCHES[what](route, True)
    eventually(lambda: slug in listed(customer))
    assert customer.ask("Hello", model=slug).status_code == 200


def test_the_list_is_one_of_model_objects_in_order(customer, fake):
    live_route("aaa/first", fake.base_url)
    body = eventually(
        lambda: customer.get("/v1/models").json(),
        lambda body: {"aaa/first", "scripted"} <= {model["id"] for model in body["data"]},
    )
    assert set(body) == {"object", "data", "total_count", "first_id", "last_id", "has_more"}
    assert (body["object"], body["has_more"]) == ("list", False)
    ids = [model["id"] for model in body["data"] if "alias_of" not in model]
    assert ids == sorted(set(ids))
    assert {model["object"] for model in body["data"]} == {"model"}
    assert all(model["providers"] for model in body["data"])


# The data policy


def unstated(slug: str, fake, **provider_fields) -> Route:
    """A model whose only provider doesn't state, or no longer, what it keeps."""
    return live_route(slug, fake.base_url, self_hosted=False, **provider_fields)


def allow_unstated(customer: Customer) -> None:
    User.objects.filter(pk=customer.user.pk).update(provider_choice="stored")


TODAY = dt.datetime.now(dt.UTC).date()
UNSTATED = {
    "nothing": {},
    "no-date": {"retention": Provider.Retention.NONE},
    "too-old": {
        "retention": Provider.Retention.NONE,
        "retention_evidence_date": TODAY - dt.timedelta(days=90),
    },
    "unknown": {
        "retention": Provider.Retention.UNKNOWN,
        "retention_evidence_date": TODAY,
    },
}


@pytest.mark.parametrize("how", UNSTATED)
def test_a_provider_that_states_nothing_is_for_those_who_allow_it(customer, fake, how):
    slug = f"unstated-{how}"
    unstated(slug, fake, **UNSTATED[how])
    friend = Customer(customer.gateway)
    allow_unstated(friend)
    eventually(lambda: slug in listed(friend))
    assert slug not in listed(customer)
    assert customer.get(f"/v1/models/{slug}").status_code == 404
    assert friend.get(f"/v1/models/{slug}").status_code == 200

    token = fake.script(answer("Hello."))
    refused = customer.ask(token, model=slug)
    assert refused.status_code == 404
    refusal = error_of(refused)
    assert (refusal["code"], refusal["param"]) == ("no_route", "model")
    assert refusal["metadata"] == {
        "error_type": "not_found",
        "excluded_by": ["data_policy:retention"],
        "with_consent": {"stored": 1},
    }
    assert "privacy settings" in refusal["message"]
    assert fake.count(token) == 0
    assert customer.holds() == []
    chats = customer.account.requests.filter(api="chat")
    (row,) = eventually(lambda: list(chats.all()))
    assert (row.status, row.outcome, row.model) == (404, ApiRequest.Outcome.REFUSED, "")
    assert friend.ask(token, model=slug).status_code == 200


@pytest.mark.parametrize(("kept", "needed"), [("abuse_30d", "abuse_30d"), ("stored", "stored")])
def test_a_provider_that_keeps_data_is_for_those_who_consented(customer, fake, kept, needed):
    slug = f"keeps-{kept}"
    unstated(slug, fake, retention=kept, retention_evidence_date=TODAY)
    refusal = error_of(customer.ask("Hello", model=slug))
    assert refusal["code"] == "no_route"
    assert refusal["metadata"]["with_consent"] == {needed: 1}
    assert f"({needed}) gives one provider: no failover." in refusal["message"]
    assert "/settings/privacy" in refusal["message"]
    shown = customer.get(f"/v1/models/{slug}")
    assert (shown.status_code, "/settings/privacy" in error_of(shown)["message"]) == (404, True)

    for choice in ProviderChoice.values:
        provider_policy.choose(customer.user, choice)
        status = customer.ask("Hello", model=slug).status_code
        assert status == (200 if allows(choice, needed) else 404)


def test_a_key_of_a_person_who_never_answered_has_the_strict_choice(gateway, fake):
    asker = Customer(gateway)
    User.objects.filter(pk=asker.user.pk).update(provider_choice="")
    for kept, status in (("none", 200), ("abuse_30d", 404), ("stored", 404)):
        unstated(f"for-newcomers-{kept}", fake, retention=kept, retention_evidence_date=TODAY)
        assert asker.ask("Hello", model=f"for-newcomers-{kept}").status_code == status


def test_a_refusal_counts_only_providers_that_could_serve_the_request(customer, fake):
    unstated("two-keepers", fake, retention="stored", retention_evidence_date=TODAY)
    wish = {"only": ["no-such-provider"]}
    refusal = error_of(customer.ask("Hello", model="two-keepers", provider=wish))
    assert refusal["metadata"]["with_consent"] == {}
    assert "/settings/privacy" not in refusal["message"]


def test_of_two_routes_only_the_stated_one_is_shown_and_used(customer, fake):
    model = unstated("two-routes", fake).model
    stated = Provider.objects.update_or_create(
        slug="stated",
        defaults={
            "name": "Stated",
            "base_url": fake.base_url,
            "retention": Provider.Retention.NONE,
            "retention_evidence_date": TODAY,
        },
    )[0]
    if not Route.objects.filter(model=model, provider=stated).exists():
        dearer = make_price(input_nano=900_000_000)
        Route.objects.create(
            model=model, provider=stated, upstream_model="up/two-routes", price_version=dearer
        )
    shown = eventually(lambda: customer.get("/v1/models/two-routes"), lambda got: got.ok).json()
    assert [provider["slug"] for provider in shown["providers"]] == ["stated"]
    assert shown["pricing"]["prompt"] == "0.0000009"
    token = fake.script(error(500))
    assert customer.ask(token, model="two-routes").status_code == 502
    assert fake.count(token) == 1  # No second try with the one that states nothing.
    wish = {"only": ["two-routes"]}
    refusal = error_of(customer.ask(token, model="two-routes", provider=wish))
    assert refusal["metadata"]["excluded_by"] == ["data_policy:retention", "provider.only"]

    allow_unstated(customer)
    shown = eventually(
        lambda: customer.get("/v1/models/two-routes").json(), lambda got: len(got["providers"]) == 2
    )
    assert shown["pricing"]["prompt"] == "0.0000001"
    assert customer.ask(token, model="two-routes").status_code == 502
    assert fake.count(token) == 3


# Credit


@pytest.mark.parametrize("balance_nano", [0, 1, 123_456_789, USD, 10**15 + 1])
def test_the_balance_is_exact_to_the_nano_dollar(gateway, balance_nano):
    customer = Customer(gateway, balance_nano=balance_nano)
    body = exactly(customer.get("/v1/credits/balance"))
    assert body.pop("currency") == "USD"
    whole = Decimal(balance_nano) / NANO_PER_USD
    assert body == {"balance": whole, "held": 0, "owed": 0, "available": whole}
    assert all(type(amount) is Decimal for amount in body.values())


def test_what_is_held_and_owed_is_not_available(customer, fake):
    slow = [Pause(0.1), Bytes(b": not yet\n\n")] * 200
    token = fake.script([Head(), Event(chunk({"content": "One "})), *slow])
    pending = customer.ask(token, stream=True, max_tokens=10)
    assert pending.status_code == 200
    held = Decimal(customer.held_nano()) / NANO_PER_USD
    assert held > 0
    body = exactly(customer.get("/v1/credits/balance"))
    assert (body["balance"], body["held"], body["available"]) == (1, held, 1 - held)
    pending.close()
    eventually(lambda: not customer.holds())

    customer.account.owed_nano = 5
    customer.account.save(update_fields=["owed_nano"])
    body = exactly(customer.get("/v1/credits/balance"))
    assert (body["owed"], body["available"]) == (Decimal("5E-9"), 0)


# Receipts


def forms(row_id: uuid.UUID) -> list[str]:
    return [f"chatcmpl-{row_id.hex}", str(row_id), row_id.hex]


def test_a_receipt_is_found_by_the_answers_id_and_by_the_requests(customer, fake):
    usage = usage_of(10, 5, cached_tokens=4)
    token = fake.script(answer("Hello.", extra={"usage": usage}))
    answered = customer.ask(token)
    row = customer.settled_request()
    ids = [answered.json()["id"], answered.headers["x-request-id"]]
    assert ids == forms(row.id)[:2]
    receipts = [
        exactly(customer.get(f"/v1/generation?id={each}"))["data"] for each in forms(row.id)
    ]
    assert receipts[0] == receipts[1] == receipts[2]
    receipt = receipts[0]
    assert (receipt["id"], receipt["request_id"]) == (ids[0], ids[1])
    assert (receipt["model"], receipt["provider_name"]) == ("scripted", "scripted")
    assert (receipt["tokens_prompt"], receipt["tokens_completion"]) == (10, 5)
    assert receipt["native_tokens_cached"] == 4
    assert (receipt["finish_reason"], receipt["status"]) == ("stop", 200)
    assert (receipt["streamed"], receipt["cancelled"], receipt["estimated"]) == (False,) * 3
    assert [attempt["status"] for attempt in receipt["attempts"]] == [200]


def test_a_receipt_adds_up_to_what_the_ledger_took(customer, fake):
    answered = exactly(customer.ask(fake.script(answer("Hello."))))
    row = customer.settled_request()
    receipt = exactly(customer.get(f"/v1/generation?id={row.id}"))["data"]
    cost = Decimal(-customer.usage_entries()[0].amount_nano) / NANO_PER_USD
    assert receipt["total_cost"] == receipt["usage"] == answered["usage"]["cost"] == cost
    lines = receipt["cost_details"]
    assert lines.pop("price_version") == str(row.price_version_id)
    assert sum(lines.values()) == cost
    expected = cost_lines(row.price_version.price, usage_of_row(row))
    assert {name: amount * NANO_PER_USD for name, amount in lines.items()} == expected


def test_a_finish_reason_that_no_database_could_hold_is_no_obstacle(customer, fake):
    token = fake.script(answer("Hello.", finish_reason="st\0op" + 100 * "x"))
    assert customer.ask(token).status_code == 200
    row = customer.settled_request()
    assert row.finish_reason == "stop"
    told = customer.get(f"/v1/generation?id={row.id}").json()["data"]
    assert told["finish_reason"] == "stop"
    assert told["native_finish_reason"] == "stop" + 20 * "x"
    assert len(customer.usage_entries()) == 1


def test_a_refused_request_has_a_receipt_of_nothing(customer):
    refused = customer.ask("Hello", temperature=3)
    eventually(customer.requests)
    path = f"/v1/generation?id={refused.headers['x-request-id']}"
    receipt = exactly(customer.get(path))["data"]
    assert (receipt["status"], receipt["outcome"]) == (400, "refused")
    assert (receipt["total_cost"], receipt["cost_details"]) == (0, None)


def test_a_receipt_is_nobody_elses(customer):
    customer.ask("Hello")
    row = customer.settled_request()
    stranger = Customer(customer.gateway)
    for each in forms(row.id):
        response = stranger.get(f"/v1/generation?id={each}")
        assert response.status_code == 404
        assert error_of(response)["message"] == "There is no such generation in this account."


@pytest.mark.parametrize(
    "query", ["", "id=", "id=chatcmpl-", "id=nope", "id=chatcmpl-xyz", "ID=1", "id=" + 33 * "0"]
)
def test_what_is_no_id_is_told_what_one_looks_like(customer, query):
    response = customer.get(f"/v1/generation?{query}")
    assert response.status_code == 400
    told = error_of(response)
    assert (told["param"], told["code"]) == ("id", "invalid_request")
    ids = "?id=chatcmpl-..., cmpl-..., emb-..., msg_... or resp_..."
    assert told["message"] == f"Give the id of an answer ({ids}) or its x-request-id."
