import json
import re

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.errors import SealBroken
from accounts.mfa import MfaAdapter
from accounts.models import Notice
from tests.support.account_pages import (
    PASSWORD,
    TOTP_COUNTER,
    is_signed_in,
    sign_in,
    text_of,
    totp_code,
)
from tests.support.factories import make_user

ACTIVATE = "/accounts/2fa/totp/activate/"
AUTHENTICATE = "/accounts/2fa/authenticate/"


@pytest.fixture(autouse=True)
def _time_stands_still(monkeypatch):
    """A code must not run out between its making and its use."""
    monkeypatch.setattr(auth, "yield_hotp_counters_from_time", lambda: iter([TOTP_COUNTER]))


@pytest.fixture
def dora(_some_books):
    return make_user("dora@example.org", password=PASSWORD)


@pytest.fixture
def signed_in(dora, client):
    """At the pages, having said the password again."""
    sign_in(client, "dora@example.org")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return client


def enrol(client) -> tuple[str, list[str]]:
    """Set up an authenticator app: its seed, and the recovery codes that are shown."""
    secret = client.get(ACTIVATE).context["form"].secret
    response = client.post(ACTIVATE, {"code": totp_code(secret)}, follow=True)
    return secret, re.findall(r"\b\d{8}\b", text_of(response))


def notices_of_second_factors():
    notices = Notice.objects.filter(template__startswith="mfa/")
    return notices.values_list("template", flat=True)


def whole_database() -> str:
    """Every text and every blob of every table, as a thief of the file would read it."""
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            texts += [
                bytes(value).decode("latin-1") if isinstance(value, memoryview | bytes) else value
                for row in cursor.fetchall()
                for value in row
            ]
    return "\n".join(map(str, texts))


def test_an_app_is_set_up_by_picture_or_key_and_a_code(signed_in):
    page = signed_in.get(ACTIVATE)
    secret = page.context["form"].secret
    html = page.content.decode()
    assert "data:image/svg+xml;base64," in html
    assert secret in html
    assert "Incorrect code" in text_of(signed_in.post(ACTIVATE, {"code": "000000"}))
    response = signed_in.post(ACTIVATE, {"code": totp_code(secret)})
    assert response["Location"] == "/accounts/2fa/recovery-codes/"
    assert "on" in text_of(signed_in.get("/settings/security"))


def test_setting_up_asks_for_the_password_first(dora, client):
    sign_in(client, "dora@example.org")
    assert client.get(ACTIVATE)["Location"].startswith("/accounts/reauthenticate/")


def test_signing_in_then_takes_the_code_of_the_app(signed_in):
    secret, _ = enrol(signed_in)
    client = Client()
    assert sign_in(client, "dora@example.org")["Location"] == AUTHENTICATE
    assert not is_signed_in(client)
    assert "Incorrect code" in text_of(client.post(AUTHENTICATE, {"code": "12345"}))
    client.post(AUTHENTICATE, {"code": totp_code(secret)})
    assert is_signed_in(client)


def test_a_code_of_the_app_works_once(signed_in):
    secret, _ = enrol(signed_in)
    first, second = Client(), Client()
    code = totp_code(secret)
    for client in (first, second):
        sign_in(client, "dora@example.org")
        client.post(AUTHENTICATE, {"code": code})
    assert is_signed_in(first)
    assert not is_signed_in(second)


def test_codes_can_be_guessed_only_so_often(signed_in):
    secret, _ = enrol(signed_in)
    client = Client()
    sign_in(client, "dora@example.org")
    for _ in range(6):
        client.post(AUTHENTICATE, {"code": "000000"})
    client.post(AUTHENTICATE, {"code": totp_code(secret)})
    assert not is_signed_in(client)


def test_a_recovery_code_works_once_and_is_shown_once(signed_in):
    _, codes = enrol(signed_in)
    assert len(codes) == 10
    assert codes[0] not in text_of(signed_in.get("/accounts/2fa/recovery-codes/"))
    first, second = Client(), Client()
    for client in (first, second):
        sign_in(client, "dora@example.org")
        client.post(AUTHENTICATE, {"code": codes[0]})
    assert is_signed_in(first)
    assert not is_signed_in(second)
    assert "9 left" in text_of(first.get("/settings/security"))


def test_neither_seed_nor_recovery_codes_lie_readable_in_the_database(signed_in):
    pending = signed_in.get(ACTIVATE).context["form"].secret
    assert pending not in whole_database()
    secret, codes = enrol(signed_in)
    database = whole_database()
    assert "dora@example.org" in database, "the control"
    assert secret not in database
    assert not [code for code in codes if code in database]
    for row in Authenticator.objects.exclude(type="webauthn"):
        sealed = row.data.get("secret") or row.data["seed"]
        assert MfaAdapter().decrypt(sealed) not in database


def test_a_seal_under_another_key_does_not_open(settings):
    sealed = MfaAdapter().encrypt("seed")
    assert MfaAdapter().decrypt(sealed) == "seed"
    settings.MASTER_KEYS = "9:" + "A" * 43 + "="
    with pytest.raises(SealBroken):
        MfaAdapter().decrypt(sealed)


def test_turning_the_app_on_and_off_is_noticed_by_mail(committed_books, signed_in):
    enrol(signed_in)
    signed_in.post("/accounts/2fa/totp/deactivate/")
    assert not Authenticator.objects.exists()
    assert mail.outbox == []
    assert set(notices_of_second_factors()) == {
        "mfa/email/totp_activated",
        "mfa/email/totp_deactivated",
    }


def test_the_page_for_a_passkey_has_what_the_browser_needs(signed_in, settings):
    page = signed_in.get("/accounts/2fa/webauthn/add/")
    options = json.loads(
        re.search(
            r'<script id="js_data" type="application/json">(.*?)</script>', str(page.content)
        )[1]
    )["creation_options"]["publicKey"]
    assert options["rp"] == {"id": "testserver", "name": "Kyma"}
    assert "passkeys.js" in page.content.decode()


def test_a_passkey_is_renamed_and_removed_by_its_name(signed_in, dora):
    row = Authenticator.objects.create(user=dora, type="webauthn", data={"name": "<b>phone</b>"})
    signed_in.post("/accounts/reauthenticate/", {"password": PASSWORD})
    edit = reverse("mfa_edit_webauthn", args=[row.pk])
    assert "Rename “&lt;b&gt;phone&lt;/b&gt;”" in signed_in.get(edit).content.decode()
    assert signed_in.post(edit, {"name": "<i>key</i>"}).status_code == 302
    remove = reverse("mfa_remove_webauthn", args=[row.pk])
    page = signed_in.get(remove).content.decode()
    assert "Remove “&lt;i&gt;key&lt;/i&gt;”?" in page
    assert signed_in.post(remove).status_code == 302
    assert not Authenticator.objects.filter(pk=row.pk).exists()


def test_a_passkey_of_somebody_else_is_not_there(signed_in, bob):
    row = Authenticator.objects.create(user=bob, type="webauthn", data={"name": "bob's"})
    for name in ("mfa_edit_webauthn", "mfa_remove_webauthn"):
        assert signed_in.get(reverse(name, args=[row.pk])).status_code == 404
    assert "bob" not in text_of(signed_in.get("/settings/security"))


# --- The admin -----------------------------------------------------------------------------------


@pytest.fixture
def operator(books):
    return make_user("op@example.org", password=PASSWORD, is_staff=True, is_superuser=True)


def test_staff_without_a_second_factor_are_kept_out_of_the_admin(operator, client, settings):
    settings.STAFF_MFA_REQUIRED = True
    sign_in(client, "op@example.org")
    response = client.get("/admin/", follow=True)
    assert response.request["PATH_INFO"] == "/settings/security"
    assert "Turn on two-step sign-in first" in text_of(response)
    assert client.get("/admin/accounts/user/").status_code == 302


def test_staff_who_showed_one_enter(operator, client, settings):
    settings.STAFF_MFA_REQUIRED = True
    sign_in(client, "op@example.org")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    secret, _ = enrol(client)
    later = Client()
    sign_in(later, "op@example.org")
    later.post(AUTHENTICATE, {"code": totp_code(secret)})
    assert later.get("/admin/").status_code == 200
    Authenticator.objects.all().delete()
    assert later.get("/admin/").status_code == 302


def test_a_session_from_before_there_was_one_shows_it_first(operator, client, settings):
    settings.STAFF_MFA_REQUIRED = True
    thief = Client()
    thief.force_login(operator)  # In no list of sessions, so the new app doesn't end it.
    sign_in(client, "op@example.org")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    secret, _ = enrol(client)
    for one in (client, thief):
        response = one.get("/admin/", follow=True)
        assert response.request["PATH_INFO"] == "/accounts/2fa/reauthenticate/"
    answer = client.post("/accounts/2fa/reauthenticate/?next=/admin/", {"code": totp_code(secret)})
    assert answer["Location"] == "/admin/"
    assert client.get("/admin/").status_code == 200
    assert thief.get("/admin/accounts/user/").status_code == 302


def test_without_the_setting_a_password_is_enough(operator, client, settings):
    settings.STAFF_MFA_REQUIRED = False
    sign_in(client, "op@example.org")
    assert client.get("/admin/").status_code == 200


def test_the_admin_has_no_sign_in_of_its_own(operator, client, bob):
    response = client.get("/admin/login/?next=/admin/accounts/user/")
    assert response["Location"] == "/accounts/login/?next=%2Fadmin%2Faccounts%2Fuser%2F"
    fields = {"username": "op@example.org", "password": PASSWORD}
    assert client.post("/admin/login/", fields)["Location"].startswith("/accounts/login/")
    assert not is_signed_in(client)
    client.force_login(bob)
    assert client.get("/admin/login/").status_code == 403
