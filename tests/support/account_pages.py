"""What people do at the pages of accounts, as a browser would send it."""

import re

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core import mail
from django.http import HttpRequest
from django.test import Client

PASSWORD = "correct horse battery"
TOTP_COUNTER = 59_000_000  # the half minute in which tests of authenticator apps live


def sign_up(client, address: str, password: str = PASSWORD):
    return client.post("/accounts/signup/", {"email": address, "password1": password})


def sign_in(client, address: str, password: str = PASSWORD):
    return client.post("/accounts/login/", {"login": address, "password": password})


def just_signed_in(user) -> Client:
    """As `force_login` does it, but as one who has just said the password once more."""
    client = Client()
    client.force_login(user)
    request = HttpRequest()
    request.session = client.session
    record_authentication(request, user, method="password", reauthenticated=True)
    request.session.save()
    return client


def enter_code(client, code: str | None = None):
    return client.post("/accounts/confirm-email/", {"code": code or last_code()})


def last_code() -> str:
    return re.search(r"^(\d{6})$", mail.outbox[-1].body, re.MULTILINE)[1]


def last_link() -> str:
    return re.search(r"^(https?://\S+)$", mail.outbox[-1].body, re.MULTILINE)[1]


def totp_code(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, TOTP_COUNTER))


def is_signed_in(client) -> bool:
    return client.get("/settings/security").status_code == 200


def text_of(response) -> str:
    """The text that the page shows, without tags and tokens."""
    html = re.sub(r"<input[^>]*>", "", response.content.decode())
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())
