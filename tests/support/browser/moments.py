"""Pages that no address shows: answers to forms, and what stands where something went wrong.

They are made in this process; a browser shows them in the place of an answer of the site.
"""

from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.shortcuts import render
from django.test import Client, RequestFactory

from accounts import hashing
from billing.models import CreditAccount
from tests.support.account_pages import PASSWORD, enter_code, just_signed_in, sign_in, sign_up
from tests.support.browser.visitors import add_factors
from tests.support.factories import make_account, make_key, make_user

TEMPLATES = settings.BASE_DIR / "templates"
ERRORS = sorted(path.name for path in TEMPLATES.glob("[45]*.html"))
REFUSALS = [
    "account/mail_failed.html",
    "account/signup_closed.html",
    "account/suspended.html",
    "account/erasing.html",
]
CODES = "/accounts/2fa/recovery-codes/generate/"


def moments() -> Iterator[tuple[str, HttpResponse]]:
    """The name of each, and the answer that shows it."""
    for template in (*ERRORS, *REFUSALS):
        yield template.removesuffix(".html"), _rendered(template)
    for act in ACTS:
        yield act.__name__, act()


def _rendered(template: str) -> Any:
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    response: Any = render(request, template)
    response.templates = [type("Template", (), {"name": template})]
    return response


def a_new_key():
    client = just_signed_in(make_user())
    return client.post("/keys/new", {"name": "website", "retention_days": 90})


def a_rotated_key():
    person = make_user()
    key, _ = make_key(person, name="website")
    return just_signed_in(person).post(f"/keys/{key.id}/rotate", {"grace": "24"})


def a_key_of_nonsense():
    return just_signed_in(make_user()).post("/keys/new", {"name": "", "day_cap": "much"})


def recovery_codes():
    person = make_user()
    add_factors(person)
    return just_signed_in(person).post(CODES, follow=True)


def a_new_address():
    client = just_signed_in(make_user(password=PASSWORD))
    fields = {"action_add": "", "email": "another@example.org"}
    return client.post("/accounts/email/", fields, follow=True)


def a_message():
    return just_signed_in(make_user()).post("/settings/sessions/end-others", follow=True)


def a_short_password():
    return sign_up(Client(), "short@example.org", "short")


def a_wrong_password():
    return sign_in(Client(), "nobody@example.org")


def a_busy_sign_in():
    with hashing.refused():
        return sign_in(Client(), "hurried@example.org")


def a_busy_admin():
    client = just_signed_in(make_user(is_staff=True, is_superuser=True))
    fields = {"email": "new@example.org", "usable_password": "true"}
    with hashing.refused():
        passwords = {"password1": PASSWORD, "password2": PASSWORD}
        return client.post("/admin/accounts/user/add/", {**fields, **passwords})


def an_account_without_the_gift():
    person = make_user()
    make_account(person, no_gift=CreditAccount.NoGift.NETWORK)
    return just_signed_in(person).get("/billing")


def a_wrong_code():
    client = Client()
    sign_up(client, "guessing@example.org")
    return enter_code(client, "abcdef")


def a_worn_link():
    return Client().get("/accounts/password/reset/key/1-worn/")


ACTS: list[Callable[[], Any]] = [
    a_new_key,
    a_rotated_key,
    a_key_of_nonsense,
    recovery_codes,
    a_new_address,
    a_message,
    a_short_password,
    a_wrong_password,
    a_busy_sign_in,
    a_busy_admin,
    an_account_without_the_gift,
    a_wrong_code,
    a_worn_link,
]
