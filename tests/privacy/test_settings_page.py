"""The privacy settings: what is kept, and to whom requests may go."""

import datetime as dt

import pytest
from django.test import Client

from tests.support.factories import make_key, make_provider, make_route

URL = "/settings/privacy"


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def test_it_says_how_long_each_key_keeps_content(alice, bob):
    make_key(alice, name="forgetful", retention_days=0)
    make_key(alice, name="ordinary", retention_days=30)
    make_key(bob, name="of bob")
    page = signed_in(alice).get(URL).text
    assert "forgetful" in page
    assert "not kept" in page
    assert "kept for 30 days" in page
    assert "of bob" not in page


@pytest.mark.parametrize("allowed", [True, False])
def test_a_person_allows_and_denies_providers_that_state_no_retention(allowed, alice):
    alice.allows_unstated_retention = not allowed
    alice.save()
    body = {"allows_unstated_retention": "on"} if allowed else {}
    page = signed_in(alice).post(URL, body, follow=True)
    alice.refresh_from_db()
    assert alice.allows_unstated_retention is allowed
    assert "Saved." in page.text
    assert page.context["form"].initial == {"allows_unstated_retention": allowed}


def test_what_one_person_allows_counts_for_nobody_else(alice, bob):
    signed_in(alice).post(URL, {"allows_unstated_retention": "on"})
    bob.refresh_from_db()
    assert bob.allows_unstated_retention is False


def test_it_names_the_providers_that_state_none(alice):
    today = dt.datetime.now(dt.UTC).date()
    for name, age in (("fresh", 10), ("stale", 91)):
        evidence = today - dt.timedelta(days=age)
        provider = make_provider(name, retention="none", retention_evidence_date=evidence)
        make_route(f"model-of-{name}", provider=provider)
    unstated = signed_in(alice).get(URL).context["unstated"]
    assert [one.slug for one in unstated] == ["stale"]


def test_it_says_that_export_and_deletion_go_by_mail(alice):
    page = signed_in(alice).get(URL).text
    assert "There is no button for either yet" in page
    assert "mailto:privacy@kymaapi.com" in page


def test_strangers_are_sent_to_sign_in(books):
    assert Client().get(URL).status_code == 302
    assert Client().post(URL).status_code == 302


def test_other_methods_are_refused(alice):
    assert signed_in(alice).delete(URL).status_code == 405
