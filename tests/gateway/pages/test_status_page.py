"""What /status and /status.json say of how models and providers are doing."""

import datetime as dt
import re

import pytest
from django.test import Client
from django.utils import timezone

from gateway.analytics.periods import DAY
from gateway.models import Provider
from tests.support.factories import make_provider, make_route
from tests.support.gateway.served import folded, serve

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture
def account(alice):
    return alice.credit_account


def page() -> str:
    response = Client().get("/status")
    assert response.status_code == 200
    return response.content.decode()


def status() -> dict:
    return Client().get("/status.json").json()


def break_down(route, account) -> None:
    """Let its breaker open: nothing but failures just now."""
    now = timezone.now()
    serve(route, account, 25, at=now - dt.timedelta(seconds=2), fault="refused")


def test_without_models_the_page_says_so():
    assert "No model can be used yet" in page()
    assert status()["state"] == "unknown"


def test_before_the_first_request_nothing_is_known():
    make_route("llama")
    text = page()
    assert "No traffic yet." in text
    assert "Nothing has been measured yet" in text
    assert status()["models"][0]["state"] == "unknown"
    assert status()["measured_at"] is None


def test_a_model_that_answers_is_up(account):
    serve(make_route("llama"), account, 25)
    folded()
    found = status()
    assert (found["state"], found["models"][0]["state"]) == ("up", "up")
    assert found["providers"][0]["measured"]["last_24_hours"]["uptime_percent"] == 100.0
    assert "Models answer." in page()
    assert "100 %" in page()


def test_a_model_whose_only_route_fails_is_down(account):
    route = make_route("llama")
    break_down(route, account)
    folded()
    found = status()
    assert (found["state"], found["models"][0]["state"]) == ("down", "down")
    assert "No model answers right now" in page()


def test_a_model_with_another_route_is_degraded(account):
    broken, well = make_route("llama"), make_route("llama")
    serve(well, account, 25)
    break_down(broken, account)
    folded()
    found = status()
    states = {one["slug"]: one["state"] for one in found["providers"]}
    assert states == {broken.provider.slug: "down", well.provider.slug: "up"}
    assert (found["state"], found["models"][0]["state"]) == ("degraded", "degraded")
    assert "Some providers fail right now" in page()


def test_a_failed_probe_shows_and_takes_no_model_down(account):
    provider = make_provider("groq", name="Groq")
    serve(make_route("llama", provider=provider), account, 25)
    now = timezone.now()
    Provider.objects.update(probed_at=now, probe_ok=False, probe_note="unreachable")
    folded()
    found = status()
    assert found["providers"][0]["state"] == "degraded"
    assert found["providers"][0]["probe_ok"] is False
    assert found["models"][0]["state"] == "up"
    assert "can&#x27;t be reached" in page()


def test_a_probe_that_was_answered_counts_before_the_first_request():
    make_route("llama")
    Provider.objects.update(probed_at=timezone.now(), probe_ok=True, probe_note="answers")
    assert status()["providers"][0]["state"] == "up"


def test_each_of_thirty_days_has_a_bar(account):
    route, now = make_route("llama"), timezone.now()
    for ago, failures in ((3, 0), (5, 1), (7, 20)):
        serve(route, account, 40, at=now - DAY * ago)
        serve(route, account, failures, at=now - DAY * ago, fault="silent")
    folded()
    bars = re.findall(r'<g class="(\w+)">', page())
    of_provider, of_model = bars[:30], bars[30:]
    assert of_provider == of_model
    grades = {29 - number: grade for number, grade in enumerate(of_model) if grade != "none"}
    assert grades == {3: "good", 5: "fair", 7: "poor"}
    days = status()["models"][0]["measured"]["days"]
    assert len(days) == 30
    assert days[-1]["date"] == now.date().isoformat()
    assert [one["uptime_percent"] for one in days if one["uptime_percent"]] == [66, 97, 100]


def test_a_day_with_few_requests_tells_nothing(account):
    route, now = make_route("llama"), timezone.now()
    serve(route, account, 30, at=now - DAY * 4)
    serve(route, account, 19, at=now - DAY * 6, fault="silent")
    folded()
    days = status()["models"][0]["measured"]["days"]
    assert [one["uptime_percent"] for one in days if one["uptime_percent"] is not None] == [100.0]


def test_the_page_says_how_it_measures_and_when_it_did(account):
    serve(make_route("llama"), account, 25)
    folded()
    text = page()
    assert "How this is measured" in text
    assert "fewer than 20 samples" in text
    assert re.search(r'Last update <time datetime="\d{4}-', text)


def test_no_bar_is_coloured_by_inline_style():
    make_route("llama")
    assert "style=" not in page()
