import datetime as dt

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest
from django.urls import reverse

from accounts.ids import uuid7
from billing.models import PriceVersion
from gateway.models import ApiRequest, Model, Provider, RequestContent, Route
from tests.support.factories import (
    make_key,
    make_model,
    make_price,
    make_provider,
    make_route,
    make_user,
)

SECRET = "gsk-a-key-that-nobody-may-see"


@pytest.fixture
def operator(books, client):
    user = make_user("operator@example.org", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


@pytest.fixture
def provider(books):
    row = make_provider(
        "groq-of-tests",
        base_url="https://api.groq.example/v1",
        privacy_policy_url="https://groq.example/",
    )
    row.set_api_key(SECRET)
    row.save()
    return row


@pytest.fixture
def route(provider):
    return make_route("llama-of-tests", provider=provider)


@pytest.fixture
def api_request(route, alice):
    return make_request(route, alice)


def make_request(route, user) -> ApiRequest:
    key, _ = make_key(user)
    return ApiRequest.objects.create(
        id=uuid7(),
        account=user.credit_account,
        key=key,
        created_at=user.created_at,
        api="chat.completions",
        outcome="finished",
        status=200,
        model=route.model.slug,
        route=route,
        provider=route.provider.slug,
        price_version=route.price_version,
        prompt_tokens=7,
        completion_tokens=3,
        hold_nano=4_000_000,
        cost_nano=1_500,
    )


def page(action: str, model: type, *arguments) -> str:
    return reverse(f"admin:gateway_{model._meta.model_name}_{action}", args=arguments)


def form_of(response) -> dict:
    """What the page's form would send if nothing were changed."""
    form = response.context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    fields = {name: value for name, value in values.items() if value not in (None, False)}
    for formset in response.context["inline_admin_formsets"]:
        for form in (formset.formset.management_form, *formset.formset.forms):
            for name in form.fields:
                fields[form.add_prefix(name)] = form[name].value()
    return fields


def test_every_page_opens(operator, client, provider, route, api_request):
    for row in (provider, route.model, route, api_request):
        kind = type(row)
        assert client.get(page("changelist", kind)).status_code == 200
        assert client.get(page("change", kind, row.pk)).status_code == 200
        assert client.get(page("history", kind, row.pk)).status_code == 200
    for kind in (Provider, Model, Route):
        assert client.get(page("add", kind)).status_code == 200
    for kind, text in (
        (Provider, "groq-of-tests"),
        (Model, "llama-of-tests"),
        (Route, "llama-of-tests"),
    ):
        response = client.get(page("changelist", kind), {"q": text})
        assert response.context["cl"].result_list


def test_nothing_is_deleted_here(operator, client, provider, route, api_request):
    for row in (provider, route.model, route, api_request):
        response = client.post(page("delete", type(row), row.pk), {"post": "yes"})
        assert response.status_code == 403
        assert type(row).objects.filter(pk=row.pk).exists()


def test_the_filter_by_outcome_says_each_of_them_in_the_same_style(operator, client, api_request):
    changes = client.get(page("changelist", ApiRequest)).context["cl"]
    by_outcome, *_ = changes.filter_specs
    _all, *labels = [one["display"] for one in by_outcome.choices(changes)]
    assert len(labels) == len(ApiRequest.Outcome)
    assert [one for one in labels if not one[0].islower()] == []


@pytest.mark.parametrize("kind", [Provider, Model, Route, ApiRequest])
def test_each_list_takes_few_queries(
    operator, client, api_request, alice, django_assert_max_num_queries, kind
):
    for _ in range(10):
        make_request(make_route(), alice)
    with django_assert_max_num_queries(6):
        client.get(page("changelist", kind))


def test_a_model_with_many_routes_takes_few_queries(
    operator, client, route, django_assert_max_num_queries
):
    for _ in range(10):
        make_route("llama-of-tests")
    with django_assert_max_num_queries(8):
        client.get(page("change", Model, route.model.pk))


# --- Providers -----------------------------------------------------------------------------------


def test_no_page_ever_shows_a_providers_key(operator, client, provider, route):
    address = page("change", Provider, provider.pk)
    fields = {**form_of(client.get(address)), "new_api_key": SECRET}
    responses = [
        client.get(page("changelist", Provider)),
        client.get(address),
        client.post(address, {**fields, "name": ""}),  # refused, so the form comes back
        client.post(address, fields, follow=True),
        client.get(page("history", Provider, provider.pk)),
        client.get(page("change", Route, route.pk)),
        client.get("/admin/"),
    ]
    sealed = bytes(Provider.objects.get(pk=provider.pk).api_key_sealed)
    for response in responses:
        assert response.status_code == 200
        assert SECRET not in response.content.decode()
        assert sealed not in response.content
        assert sealed.hex() not in response.content.decode()
    assert SECRET not in "".join(LogEntry.objects.values_list("change_message", flat=True))


def test_a_key_is_set_and_only_replaced_when_another_is_given(operator, client):
    provider = make_provider("groq-of-tests", base_url="https://api.groq.example/v1")
    address = page("change", Provider, provider.pk)
    fields = form_of(client.get(address))
    assert 'alt="False"' in client.get(address).content.decode()

    assert client.post(address, {**fields, "new_api_key": f" {SECRET} "}).status_code == 302
    provider.refresh_from_db()
    assert provider.api_key == SECRET
    assert 'alt="True"' in client.get(address).content.decode()

    assert client.post(address, {**fields, "name": "Groq Inc."}).status_code == 302
    provider.refresh_from_db()
    assert (provider.name, provider.api_key) == ("Groq Inc.", SECRET)


def test_a_provider_is_added_with_its_key(operator, client):
    response = client.post(
        page("add", Provider),
        {
            "slug": "own",
            "name": "Own",
            "base_url": "http://10.0.0.1:8000/v1",
            "self_hosted": "on",
            "retention": "none",
            "unsupported": "[]",
            "enabled": "on",
            "new_api_key": SECRET,
        },
    )
    assert response.status_code == 302
    assert Provider.objects.get(slug="own").api_key == SECRET


@pytest.mark.parametrize(
    ("base_url", "is_own", "problem"),
    [
        ("http://api.groq.example/v1", False, "needs an https address"),
        ("https://10.0.0.1/v1", False, "needs an https address"),
        ("https://localhost/v1", False, "needs an https address"),
        ("https://[fe80::1]/v1", False, "needs an https address"),
        ("http://169.254.169.254/v1", True, "metadata service"),
        ("http://localhost:8000/v1", True, ""),
        ("https://8.8.8.8/v1", False, ""),
    ],
)
def test_a_provider_stands_only_where_it_may(
    operator, client, provider, settings, base_url, is_own, problem
):
    settings.HOSTED_PROVIDER_NETWORKS = []
    address = page("change", Provider, provider.pk)
    fields = {**form_of(client.get(address)), "base_url": base_url}
    response = client.post(address, {**fields, **({"self_hosted": "on"} if is_own else {})})
    assert response.status_code == (200 if problem else 302)
    assert problem in response.text
    assert Provider.objects.filter(base_url=base_url).exists() != bool(problem)


def test_evidence_of_a_day_to_come_is_refused(operator, client, provider):
    address = page("change", Provider, provider.pk)
    today = dt.datetime.now(dt.UTC).date()
    for days, status in ((2, 200), (1, 302)):
        date = today + dt.timedelta(days=days)
        fields = {**form_of(client.get(address)), "retention_evidence_date": date}
        assert client.post(address, fields).status_code == status


def test_an_error_report_hides_the_key(operator, provider, rf, monkeypatch):
    request = rf.post("/", {"new_api_key": SECRET})
    request.user = operator
    seen: list[HttpRequest] = []
    page_of_providers = admin.site._registry[Provider]
    monkeypatch.setattr(
        admin.ModelAdmin, "_changeform_view", lambda self, request, *rest: seen.append(request)
    )
    request._dont_enforce_csrf_checks = True
    page_of_providers.changeform_view(request, str(provider.pk))
    assert "new_api_key" in seen[0].sensitive_post_parameters


# --- Models and routes ---------------------------------------------------------------------------


def test_a_model_is_disabled(operator, client, route):
    address = page("change", Model, route.model.pk)
    fields = form_of(client.get(address))
    del fields["enabled"]
    assert client.post(address, fields).status_code == 302
    assert not Model.objects.get(pk=route.model.pk).enabled
    assert Route.objects.get(pk=route.pk).enabled


def test_routes_show_their_price_in_dollars_per_million(operator, client, route):
    for address in (page("changelist", Route), page("change", Model, route.model.pk)):
        html = client.get(address).content.decode()
        for amount in ("0.1", "0.05", "0.4"):
            assert f">{amount}<" in html or f"<p>{amount}</p>" in html
    assert (
        '<div class="readonly">0.4</div>'
        in client.get(page("change", Route, route.pk)).content.decode()
    )


def test_a_price_is_edited_by_choosing_another_version(operator, client, route):
    old, new = route.price_version, make_price(input_nano=5)
    address = page("change", Route, route.pk)
    fields = {**form_of(client.get(address)), "price_version": new.pk}
    assert client.post(address, fields).status_code == 302
    route.refresh_from_db()
    assert route.price_version == new
    assert PriceVersion.objects.filter(pk=old.pk).exists()


def test_a_route_is_added_by_hand(operator, client, provider):
    model, price = make_model("own"), make_price()
    response = client.post(
        page("add", Route),
        {
            "model": model.pk,
            "provider": provider.pk,
            "upstream_model": "own-1",
            "price_version": price.pk,
            "image_tokens": 2048,
            "template_tokens": 512,
            "enabled": "on",
        },
    )
    assert response.status_code == 302
    assert model.routes.get().price_version == price


def test_a_second_route_through_one_provider_is_refused(operator, client, route):
    response = client.post(
        page("add", Route),
        {
            "model": route.model.pk,
            "provider": route.provider.pk,
            "upstream_model": "own-1",
            "price_version": route.price_version.pk,
            "image_tokens": 2048,
            "template_tokens": 512,
        },
    )
    assert response.status_code == 200
    assert route.model.routes.get() == route


# --- The request log -----------------------------------------------------------------------------


def test_the_request_log_shows_money_in_dollars(operator, client, api_request):
    assert ">0.0000015<" in client.get(page("changelist", ApiRequest)).content.decode()
    html = client.get(page("change", ApiRequest, api_request.pk)).content.decode()
    assert '<div class="readonly">0.0000015</div>' in html
    assert '<div class="readonly">0.004</div>' in html


def test_the_request_log_is_read_only(operator, client, api_request):
    address = page("change", ApiRequest, api_request.pk)
    assert client.post(address, {"cost_nano": 0}).status_code == 403
    assert client.get(page("add", ApiRequest)).status_code == 403
    api_request.refresh_from_db()
    assert api_request.cost_nano == 1_500


def test_requests_are_found_by_whole_ids(operator, client, api_request, bob, route):
    account = bob.credit_account
    other = make_request(route, bob)
    for text, found in (
        (str(api_request.id), [api_request]),
        (api_request.account_id.hex, [api_request]),
        (str(other.key_id), [other]),
        (str(account.id)[:8], []),
        ("llama-of-tests", []),
    ):
        response = client.get(page("changelist", ApiRequest), {"q": text})
        assert list(response.context["cl"].result_list) == found


def test_content_of_requests_has_no_page():
    assert not admin.site.is_registered(RequestContent)
