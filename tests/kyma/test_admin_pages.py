"""Every page of the admin, found through its registry."""

import pytest
from django.contrib import admin
from django.urls import reverse

from accounts.ids import uuid7
from tests.support.factories import make_user

SEARCHES = ("word", "' OR 1", "someone@example.org", "12", str(uuid7()))


def pages() -> list:
    models = sorted(admin.site._registry, key=lambda model: model._meta.label)
    return [pytest.param(model, id=model._meta.label) for model in models]


@pytest.fixture
def operator(books, client):
    user = make_user("operator@example.org", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


def address(action: str, model: type) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{action}")


@pytest.mark.parametrize("model", pages())
def test_a_list_opens_and_is_searched_and_sorted_by_every_column(operator, client, model):
    page = address("changelist", model)
    answer = client.get(page)
    assert answer.status_code == 200
    columns = len(answer.context["cl"].list_display)
    sorts = [f"?o={sign}{column}" for column in range(columns) for sign in ("", "-")]
    for query in (*sorts, *(f"?q={text}" for text in SEARCHES)):
        assert client.get(page + query).status_code == 200, query


@pytest.mark.parametrize("model", pages())
def test_a_row_is_added_on_a_form_or_not_at_all(operator, client, model):
    may_add = admin.site._registry[model].has_add_permission(client.get("/admin/").wsgi_request)
    page = address("add", model)
    assert client.get(page).status_code == (200 if may_add else 403)
    assert client.post(page, {}).status_code == (200 if may_add else 403)


def test_stripes_copies_have_no_page():
    assert not [model for model in admin.site._registry if model._meta.app_label == "djstripe"]
