"""The privacy settings: what is kept, and to whom requests may go."""

import pytest
from django.test import Client

from privacy.models import ProviderConsent
from tests.support.factories import make_key

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


@pytest.mark.parametrize("choice", ["abuse_30d", "stored"])
def test_a_person_widens_the_choice_and_takes_it_back(choice, alice):
    for wanted in (choice, "none"):
        page = signed_in(alice).post(URL, {"choice": wanted}, follow=True)
        alice.refresh_from_db()
        assert alice.provider_choice == wanted
        assert "Saved." in page.text
        assert page.context["form"].initial == {"choice": wanted}


def test_what_one_person_allows_counts_for_nobody_else(alice, bob):
    signed_in(alice).post(URL, {"choice": "stored"})
    bob.refresh_from_db()
    assert bob.provider_choice == "none"


@pytest.mark.parametrize("body", [{}, {"choice": ""}, {"choice": "unknown"}])
def test_no_answer_and_an_odd_one_change_nothing(body, alice):
    page = signed_in(alice).post(URL, body)
    assert (page.status_code, "errorlist" in page.text) == (200, True)
    alice.refresh_from_db()
    assert alice.provider_choice == "none"
    assert not ProviderConsent.objects.exists()


def test_each_answer_is_shown_with_its_time_and_its_text(alice):
    client = signed_in(alice)
    for choice in ("abuse_30d", "abuse_30d", "none"):  # The second changes nothing.
        client.post(URL, {"choice": choice})
    page = client.get(URL)
    told = [(one.before, one.after, one.text_version) for one in page.context["history"]]
    assert told == [("abuse_30d", "none", 1), ("none", "abuse_30d", 1)]
    for row in page.context["history"]:
        assert row.created_at.strftime('datetime="%Y-%m-%dT%H:%M:%S') in page.text
    assert "version 1" in page.text


def test_it_says_that_export_and_deletion_go_by_mail(alice):
    page = signed_in(alice).get(URL).text
    assert "There is no button for either yet" in page
    assert "mailto:privacy@kymaapi.com" in page


def test_strangers_are_sent_to_sign_in(books):
    assert Client().get(URL).status_code == 302
    assert Client().post(URL).status_code == 302


def test_other_methods_are_refused(alice):
    assert signed_in(alice).delete(URL).status_code == 405
