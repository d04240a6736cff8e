import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import session_list
from accounts.keyring import data_keys
from accounts.models import Notice, User
from accounts.passwords import KymaArgon2PasswordHasher
from kyma import settings as kyma_settings
from tests.support.account_pages import (
    PASSWORD,
    enter_code,
    is_signed_in,
    last_code,
    last_link,
    sign_in,
    text_of,
)
from tests.support.factories import make_user

NEW_PASSWORD = "battery staple correct"


@pytest.fixture
def dora(books):
    return make_user("dora@example.org", password=PASSWORD)


def reauthenticate(client) -> None:
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})


def test_address_and_password_sign_in_and_signing_out_ends_it(dora, client):
    assert sign_in(client, "Dora@example.org")["Location"] == "/dashboard"
    assert is_signed_in(client)
    client.post("/accounts/logout/")
    assert not is_signed_in(client)


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(dora, client):
    wrong = text_of(sign_in(client, "dora@example.org", "wrong"))
    assert "are not correct" in wrong
    assert text_of(sign_in(Client(), "nobody@example.org", "wrong")) == wrong


def test_after_five_wrong_passwords_even_the_right_one_waits(dora, client):
    for _ in range(5):
        sign_in(client, "dora@example.org", "wrong")
    assert "Too many wrong tries" in text_of(sign_in(client, "dora@example.org"))
    assert not is_signed_in(client)
    assert "Too many wrong tries" not in text_of(sign_in(client, "other@example.org", "wrong"))


def test_one_address_can_try_only_so_many_accounts(books, client):
    answers = [sign_in(client, f"person-{n}@example.org", "wrong") for n in range(11)]
    assert "Too many wrong tries" in text_of(answers[-1])
    other = client.post(
        "/accounts/login/",
        {"login": "person-99@example.org", "password": "wrong"},
        REMOTE_ADDR="192.0.2.7",
    )
    assert "Too many wrong tries" not in text_of(other)


@pytest.mark.parametrize(("proxies", "is_limited"), [(0, True), (1, False)])
def test_a_forwarded_address_counts_only_behind_a_trusted_proxy(
    books, client, settings, proxies, is_limited
):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    for number in range(11):
        answer = client.post(
            "/accounts/login/",
            {"login": f"person-{number}@example.org", "password": "wrong"},
            headers={"X-Forwarded-For": f"192.0.2.{number}"},
        )
    assert ("Too many wrong tries" in text_of(answer)) == is_limited


def test_a_missing_forwarded_address_is_no_error(dora, client, settings):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 2
    client.post(
        "/accounts/login/",
        {"login": "dora@example.org", "password": PASSWORD},
        headers={"X-Forwarded-For": "192.0.2.1"},
    )
    assert is_signed_in(client)


def test_the_sign_in_page_never_leads_elsewhere(dora, client):
    address = "/accounts/login/?next=https://evil.example/"
    response = client.post(address, {"login": "dora@example.org", "password": PASSWORD})
    assert response["Location"] == "/dashboard"


def test_passwords_are_argon2id_with_the_parameters_written_down():
    assert kyma_settings.PASSWORD_HASHERS == ["accounts.passwords.KymaArgon2PasswordHasher"]
    hasher = KymaArgon2PasswordHasher()
    decoded = hasher.decode(hasher.encode("x", "saltsaltsalt"))
    assert (decoded["variety"], decoded["memory_cost"]) == ("argon2id", 65536)
    assert (decoded["time_cost"], decoded["parallelism"]) == (4, 1)


# --- Forgotten passwords -------------------------------------------------------------------------


def test_a_link_by_mail_sets_a_new_password_once(dora, client):
    client.post("/accounts/password/reset/", {"email": "dora@example.org"})
    link = last_link()
    form = client.get(link, follow=True)
    action = form.context["action_url"]
    response = client.post(action, {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    assert response.status_code == 302
    dora.refresh_from_db()
    assert dora.check_password(NEW_PASSWORD)
    assert "doesn't work any more" in " ".join(
        Client().get(link, follow=True).content.decode().split()
    ).replace("&#x27;", "'")


def test_asking_for_a_link_says_the_same_of_a_known_and_of_an_unknown_address(dora, client):
    pages = [
        text_of(client.post("/accounts/password/reset/", {"email": address}, follow=True))
        for address in ("dora@example.org", "nobody@example.org")
    ]
    assert pages[0] == pages[1]
    assert [one.to for one in mail.outbox] == [["dora@example.org"], ["nobody@example.org"]]
    assert "no account" in mail.outbox[1].body


def test_links_can_be_asked_for_only_so_often(dora, client):
    answers = [
        client.post("/accounts/password/reset/", {"email": "dora@example.org"}) for _ in range(6)
    ]
    assert [answer.status_code for answer in answers] == [302] * 5 + [429]
    way_back = '<a href="/accounts/password/reset/">Back to the page</a>'
    assert way_back in answers[-1].content.decode()


# --- Changes -------------------------------------------------------------------------------------


def test_changing_the_password_asks_for_the_old_one_and_ends_other_sessions(dora, client):
    other = Client()
    sign_in(client, "dora@example.org")
    sign_in(other, "dora@example.org")
    fields = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
    client.post("/accounts/password/change/", {**fields, "oldpassword": "wrong"})
    assert is_signed_in(other)
    response = client.post("/accounts/password/change/", {**fields, "oldpassword": PASSWORD})
    assert response["Location"] == "/settings/security"
    assert is_signed_in(client)
    assert not is_signed_in(other)
    assert Notice.objects.filter(template="account/email/password_changed").count() == 1


def test_changing_the_address_asks_who_it_is_and_takes_a_code_sent_to_the_new_one(dora, client):
    sign_in(client, "dora@example.org")
    fields = {"email": "dora@example.net", "action_add": ""}
    response = client.post("/accounts/email/", fields)
    assert response["Location"].startswith("/accounts/reauthenticate/")
    reauthenticate(client)
    client.post("/accounts/email/", fields)
    assert mail.outbox[-1].to == ["dora@example.net"]
    dora.refresh_from_db()
    assert dora.email == "dora@example.org"

    assert enter_code(client)["Location"] == "/settings/security"
    dora.refresh_from_db()
    assert dora.email == "dora@example.net"
    assert list(EmailAddress.objects.values_list("email", "verified", "primary")) == [
        ("dora@example.net", True, True)
    ]
    notice = Notice.objects.get(template="account/email/email_changed")
    assert b"example" not in bytes(notice.sealed)


def test_an_address_that_belongs_to_somebody_else_is_not_told_and_not_taken(dora, client):
    make_user("taken@example.org", password=PASSWORD)
    sign_in(client, "dora@example.org")
    reauthenticate(client)
    answers = []
    for address in ("free@example.org", "taken@example.org"):
        response = client.post("/accounts/email/", {"email": address, "action_add": ""})
        answers.append((response.status_code, response["Location"]))
    assert answers[0] == answers[1]
    assert mail.outbox[-1].to == ["taken@example.org"]
    enter_code(client)  # Even who can read that mail too.
    assert set(User.objects.values_list("email", flat=True)) == {
        "dora@example.org",
        "taken@example.org",
    }
    assert EmailAddress.objects.get(email="taken@example.org", verified=True).user != dora


# --- Sessions ------------------------------------------------------------------------------------


def test_sessions_are_listed_and_ended_one_by_one(dora, client):
    other = Client(headers={"user-agent": "Lynx"})
    sign_in(client, "dora@example.org")
    sign_in(other, "dora@example.org")
    page = text_of(client.get("/settings/security"))
    assert "Lynx" in page
    assert "127.0.0.1" in page
    (row,) = [one for one in session_list.of(dora) if one.user_agent == "Lynx"]
    assert client.post(f"/settings/sessions/{row.pk}/end").status_code == 302
    assert not is_signed_in(other)
    assert is_signed_in(client)


def test_all_other_sessions_are_ended_at_once(dora, client):
    others = [Client(), Client()]
    for one in (client, *others):
        sign_in(one, "dora@example.org")
    client.post("/settings/sessions/end-others")
    assert is_signed_in(client)
    assert not any(map(is_signed_in, others))


@pytest.mark.parametrize(
    ("user_agent", "browser"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "Firefox on Linux",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/18.0 Safari/605",
            "Safari on macOS",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/150.0 Safari/537.36 Edg/150.0", "Edge on Windows"),
        ("curl/8.0", "curl/8.0"),
    ],
)
def test_a_session_says_its_browser_in_words(dora, user_agent, browser):
    client = Client(headers={"user-agent": user_agent})
    sign_in(client, "dora@example.org")
    assert [one.browser for one in session_list.of(dora)] == [browser]


def test_where_a_session_began_lies_sealed_under_its_persons_key(dora, client):
    client = Client(headers={"user-agent": "Lynx"})
    sign_in(client, "dora@example.org")
    row = UserSession.objects.get()
    assert (row.ip, row.user_agent) == (session_list.NOWHERE, "")
    row.save()
    assert [(one.ip, one.user_agent) for one in session_list.of(dora)] == [("127.0.0.1", "Lynx")]
    data_keys.destroy(dora.id)
    data_keys.create(dora.id)
    assert [(one.ip, one.user_agent) for one in session_list.of(dora)] == [("", "")]


def test_a_session_of_somebody_else_is_not_there(dora, client, bob):
    sign_in(client, "dora@example.org")
    row = UserSession.objects.get()
    stranger = Client()
    stranger.force_login(bob)
    assert stranger.post(f"/settings/sessions/{row.pk}/end").status_code == 404
    assert stranger.get(f"/settings/sessions/{row.pk}/end").status_code == 405
    assert is_signed_in(client)


def test_ended_sessions_are_purged_with_address_and_browser(dora, client):
    other = Client()
    sign_in(client, "dora@example.org")
    sign_in(other, "dora@example.org")
    Session.objects.filter(pk=other.session.session_key).update(expire_date=timezone.now())
    assert session_list.purge() == 1
    assert UserSession.objects.get().session_key == client.session.session_key
    assert Session.objects.count() == 1


def test_the_session_cookie_is_guarded_and_lasts_thirty_days(dora, client):
    sign_in(client, "dora@example.org")
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["max-age"] == 30 * 24 * 60 * 60


def test_private_pages_are_kept_by_no_cache(dora, client):
    sign_in(client, "dora@example.org")
    for path in ("/dashboard", "/keys", "/settings/security", "/accounts/email/", "/models"):
        assert "no-store" in client.get(path)["Cache-Control"], path
    client.post("/accounts/logout/")
    assert "no-store" not in client.get("/models").get("Cache-Control", "")


def test_what_a_session_holds_lies_sealed(books, client):
    client.post("/accounts/signup/", {"email": "new@example.org", "password1": PASSWORD})
    session = client.session
    assert session["account_email_verification_code"]["code"] == last_code()
    row = Session.objects.get(pk=session.session_key)
    assert last_code() not in row.session_data
    assert session.decode(row.session_data)["account_email_verification_code"]
    assert session.decode("nonsense") == {}
