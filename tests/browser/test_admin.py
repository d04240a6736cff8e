"""What axe says of Django's admin: of its index, and of each model's list and one of its rows."""

import pytest
from django.contrib import admin
from django.urls import reverse

from tests.browser.conftest import apart
from tests.support.browser.accessibility import axe_by_any_light
from tests.support.factories import make_user

OPTIONS = {
    # Else axe writes what forms.css imports into the page, which the security policy forbids.
    "preload": False,
    "rules": {
        "aria-prohibited-attr": {"enabled": False},  # Django's script labels icons of a filter so.
        "color-contrast-enhanced": {"enabled": False},  # AAA, which Django's colours don't aim at
        "label-title-only": {"enabled": False},  # The label of Django's search box is an icon.
    },
}


@pytest.fixture
def operator(visitors):
    return apart(lambda: make_user(is_staff=True, is_superuser=True))


def test_staff_can_use_every_page(page, signed_in, operator):
    signed_in(page, operator)
    found = []
    for path in apart(pages):
        page.goto(path)
        found += [f"{path}: {fault}" for fault in axe_by_any_light(page, **OPTIONS)]
    assert found == []


def pages() -> list[str]:
    addresses = [reverse("admin:index")]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        addresses.append(reverse(f"{name}_changelist"))
        row = model._default_manager.first()
        if row is not None:
            addresses.append(reverse(f"{name}_change", args=[row.pk]))
    return addresses
