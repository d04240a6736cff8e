"""P7: each person is asked once which providers may answer, before the dashboard."""

import datetime as dt
import hashlib
import re
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.template.loader import get_template
from django.test import Client

from accounts.models import User
from kyma.demo import making
from kyma.machine import first_run
from privacy import provider_policy
from privacy.models import ProviderConsent
from tests.support.factories import make_account, make_provider, make_route, make_user

URL = "/settings/privacy/choose"
PAGES = ["/dashboard", "/keys", "/keys/new", "/chat", "/usage", "/requests", "/billing"]
# The digest of the text that people answer, by its version. A new text gets a new version here
# and in privacy/provider_policy.py.
TEXTS = {1: "0233ee27350b156e"}


@pytest.fixture
def newcomer(books) -> User:
    user = make_user(provider_choice="")
    make_account(user)
    return user


@pytest.fixture
def hers(newcomer) -> Client:
    client = Client()
    client.force_login(newcomer)
    return client


def answers_of(user: User) -> list[tuple[str, str, int]]:
    rows = reversed(provider_policy.history(user))
    return [(one.before, one.after, one.text_version) for one in rows]


@pytest.mark.parametrize("path", PAGES)
def test_a_person_who_hasn_t_chosen_is_asked_before_each_page(path, hers, newcomer):
    answer = hers.get(f"{path}?range=7d")
    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, URL)
    asked = hers.get(answer["Location"])
    assert asked.status_code == 200
    onward = hers.post(URL, {"choice": "none", "next": asked.context["next"]})
    assert onward["Location"] == f"{path}?range=7d"
    assert hers.get(path).status_code == 200
    assert answers_of(newcomer) == [("", "none", 1)]


@pytest.mark.parametrize(
    "path", ["/", "/models", "/privacy", "/settings/security", "/settings/privacy", "/api/account"]
)
def test_other_pages_ask_nothing(path, hers):
    assert hers.get(path).status_code == 200


def test_the_admin_asks_nothing(books):
    client = Client()
    client.force_login(make_user(provider_choice="", is_staff=True, is_superuser=True))
    assert client.get("/admin/").status_code == 200


def test_a_part_of_a_page_makes_the_browser_load_the_page(hers):
    answer = hers.get("/dashboard/balance", headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Refresh"]) == (409, "true")


def test_the_safe_answer_is_preselected_and_stands_beside_the_promise(hers):
    today = dt.datetime.now(dt.UTC).date()
    evidence = {"retention_evidence_date": today}
    make_route(provider=make_provider("keeper", name="Keeper", retention="abuse_30d", **evidence))
    page = hers.get(URL)
    (preselected,) = re.findall(r"<input[^>]* checked[^>]*>", page.text)
    assert 'value="none"' in preselected
    assert 'value="stored"' not in page.text
    assert "isn’t stated to keep nothing" in page.text
    assert "Now: Keeper." in page.text
    assert "<script" not in page.text.split("<main")[1].split("</main>")[0]


@pytest.mark.parametrize("choice", ["", "stored", "anything"])
def test_the_first_question_takes_only_its_two_answers(choice, hers, newcomer):
    assert hers.post(URL, {"choice": choice}).status_code == 200
    newcomer.refresh_from_db()
    assert (newcomer.provider_choice, answers_of(newcomer)) == ("", [])


def test_a_person_who_has_chosen_is_not_asked_again(alice):
    client = Client()
    client.force_login(alice)
    assert client.get(URL)["Location"] == "/settings/privacy"
    assert client.get("/dashboard").status_code == 200


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example", "javascript:x", ""])
def test_the_answer_leads_nowhere_else(onward, hers):
    assert hers.post(URL, {"choice": "none", "next": onward})["Location"] == "/dashboard"


def test_strangers_are_sent_to_sign_in(books):
    for answer in (Client().get(URL), Client().post(URL)):
        assert answer["Location"].startswith("/accounts/login")


def test_other_methods_are_refused(alice):
    client = Client()
    client.force_login(alice)
    assert client.delete(URL).status_code == 405


def test_the_admin_of_make_run_has_chosen(books, tmp_path):
    for _ in range(2):
        login = first_run.ensure_admin(tmp_path / "first_run.json")
    admin = User.objects.get(email=login.email)
    assert (admin.provider_choice, answers_of(admin)) == ("stored", [("", "stored", 0)])
    provider_policy.choose(admin, "none")
    first_run.ensure_admin(tmp_path / "first_run.json")
    admin.refresh_from_db()
    assert admin.provider_choice == "none"


def test_the_person_of_the_demo_has_chosen(books):
    make_route("a", provider=make_provider(self_hosted=True))
    making.make(days=1, a_day=1)
    assert User.objects.get(email=making.EMAIL).provider_choice == "none"


def test_an_answer_is_between_known_choices_and_changes_one(alice):
    for wrong in ({"after": "none"}, {"after": "other"}, {"before": "other"}):
        fields = {"before": "none", "after": "stored", "text_version": 1, **wrong}
        with pytest.raises(IntegrityError), transaction.atomic():
            ProviderConsent.objects.create(user=alice, **fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=alice.pk).update(provider_choice="other")
    with pytest.raises(ValueError, match="other"):
        provider_policy.choose(alice, "other")


def test_a_new_text_has_a_new_version():
    folder = Path(get_template("privacy/_choice.html").origin.name).parent
    text = b"".join((folder / name).read_bytes() for name in ("_choice.html", "_promise.html"))
    found = {provider_policy.TEXT_VERSION: hashlib.sha256(text).hexdigest()[:16]}
    assert found.items() <= TEXTS.items(), "Raise TEXT_VERSION, and note the digest of the text."
