"""What stands open to everyone: landing, docs, terms, contact and the privacy policy."""

import ast
from collections.abc import Iterator

import pytest
from django.test import Client

from billing.tiers import TIERS
from gateway import errors
from gateway.access import limits
from gateway.access import rules as key_rules
from gateway.catalogue.aliases import ALIASES
from kyma.pages import error_table
from tests.support.factories import make_model, make_price, make_provider, make_route
from tests.support.pages import ids_in, links_in
from tests.support.sources import files, tree

PAGES = ["/", "/docs", "/terms", "/contact", "/privacy"]
CENT = 10_000_000


@pytest.fixture
def catalogue(books):
    """Two models that strangers could use, and one whose provider states no retention."""
    make_model("small", name="Small One")
    stating = make_provider("stating", self_hosted=True)
    price = make_price(input_nano=7 * CENT, output_nano=123_456_789)
    make_route("small", provider=stating, price=price)
    make_route("gpt-oss-20b", provider=stating)
    make_route("hidden-model", provider=make_provider("silent"))


@pytest.mark.parametrize("path", PAGES)
def test_strangers_read_it(path, books):
    page = Client().get(path)
    assert page.status_code == 200
    assert "privacy@kymaapi.com" in page.text
    assert page.text.count("<h1") == 1
    assert '<meta name="description" content="' in page.text
    assert '<meta name="robots" content="index, follow">' in page.text


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_posted_to_it(path, books):
    assert Client().post(path).status_code == 405


@pytest.mark.parametrize("path", PAGES)
def test_who_is_signed_in_reads_it_too(path, alice):
    client = Client()
    client.force_login(alice)
    assert "Dashboard" in client.get(path).text


@pytest.mark.parametrize("path", PAGES)
def test_its_links_lead_somewhere(path, catalogue):
    page = Client().get(path)
    for link in links_in(page.text):
        address, _, fragment = link.partition("#")
        if not address.startswith(("mailto:", "/v1/")):
            target = page if address == "" else Client().get(address)
            assert target.status_code in (200, 302), link
            assert not fragment or fragment in ids_in(target.text), link


def test_the_landing_shows_real_prices_of_what_a_new_account_could_use(catalogue):
    page = Client().get("/")
    assert [offer.slug for offer in page.context["offers"]] == ["gpt-oss-20b", "small"]
    for shown in ("Small One", "$0.07", "$0.123456789"):
        assert shown in page.text
    assert "hidden-model" not in page.text


def test_the_landing_says_so_where_no_model_can_be_used(books):
    assert "No model can be used right now" in Client().get("/").text


def test_the_landing_offers_the_credit_that_is_given(books, settings):
    settings.SIGNUP_CREDIT_NANO = 250_000_000
    assert "$0.25 of credit" in Client().get("/").text


def test_the_docs_say_what_each_alias_means(catalogue):
    meanings = dict(Client().get("/docs").context["aliases"])
    assert set(meanings) == set(ALIASES)
    assert meanings["fast"] == "gpt-oss-20b"
    assert meanings["vision"] is None


def test_the_docs_show_every_tier(books):
    page = Client().get("/docs").text
    assert all(f">{tier.tokens_per_request:,}<" in page for tier in TIERS)


def test_the_docs_explain_every_error_that_there_is(books):
    classes = {
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, errors.GatewayError)
    }
    assert set(error_table.WHEN) == classes - {errors.GatewayError}
    page = Client().get("/docs").text
    for row in error_table.rows():
        assert row.when.replace("'", "&#x27;") in page
    assert len(error_table.rows()) == len(error_table.WHEN)


def test_an_error_is_told_as_the_gateway_tells_it():
    row = next(one for one in error_table.rows() if one.status == 402)
    told = errors.PaymentRequired("").as_dict()
    assert (row.type, row.code) == (told["type"], told["code"])
    assert row.error_type == told["metadata"]["error_type"]
    assert row.is_worth_repeating is False


def codes_that_calls_set() -> Iterator[str]:
    """Each `code="…"` of what the gateway raises; the local provider is a provider."""
    for path in files("gateway", "kyma/api"):
        if "local_provider" in path.parts:
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.keyword) and node.arg == "code":
                for one in (one for one in ast.walk(node) if isinstance(one, ast.Constant)):
                    yield from _whole(one.value)


def _whole(text: str) -> Iterator[str]:
    """Where it is only a code's beginning, what follows is the state of an account."""
    if text == "account_":
        yield from (f"account_{state}" for state in key_rules._CLOSED)
    elif text not in ("_per_minute", "_"):
        yield text


def test_the_docs_explain_every_code_that_there_is(books):
    buckets = {f"{kind}_per_minute" for kind in limits._WHOSE}
    of_classes = {row.code for row in error_table.rows()}
    set_by_calls = set(codes_that_calls_set())
    assert set_by_calls >= {"ip_not_allowed", "key_limit_reached"}
    assert set(error_table.CODES) - of_classes == (set_by_calls | buckets) - of_classes
    page = Client().get("/docs").text
    assert all(f"<code>{code}</code>" in page for code in error_table.CODES)


def test_the_policy_has_every_promise_its_version_and_its_date(books):
    page = Client().get("/privacy").text
    assert [f"P{number}" for number in range(1, 16)] == [
        one for one in ids_in(page) if one.startswith("P")
    ]
    assert "Version 1, last updated" in page
    assert '<time datetime="2026-04-05">' in page
