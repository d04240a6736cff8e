"""Evidence of what providers keep: the operator hears in time that it grows old (P7)."""

import datetime as dt
from smtplib import SMTPException

import pytest
from django.core import mail
from django.test import Client

from gateway import tasks
from gateway.catalogue import reminders
from gateway.models import OperatorMail, Provider
from gateway.models.evidence import EvidenceState, due, due_of
from kyma.celery import app as celery_app
from tests.support.factories import make_provider, make_user

TODAY = dt.datetime.now(dt.UTC).date()
OPERATOR = "operator@example.org"

pytestmark = pytest.mark.usefixtures("books")


def aged(slug: str, days: int | None, **fields) -> Provider:
    date = None if days is None else TODAY - dt.timedelta(days=days)
    return make_provider(slug, **{"retention": "none", "retention_evidence_date": date, **fields})


@pytest.fixture
def operator_email(settings):
    settings.OPERATOR_EMAIL = OPERATOR


@pytest.mark.parametrize(
    ("days", "state"),
    [(0, None), (59, None), (60, "ageing"), (89, "ageing"), (90, "too-old"), (None, "too-old")],
)
@pytest.mark.parametrize("retention", ["none", "abuse_30d", "stored"])
def test_evidence_is_due_from_day_60_and_too_old_from_day_90(days, state, retention):
    found = due_of(aged("one", days, retention=retention), TODAY)
    assert (found.state if found else None) == state


@pytest.mark.parametrize("fields", [{"self_hosted": True}, {"retention": "unknown"}])
def test_providers_that_need_no_evidence_are_never_due(fields):
    assert due_of(aged("one", 200, **fields), TODAY) is None


def test_the_oldest_comes_first_and_what_is_off_not_at_all():
    for slug, days in (("young", 60), ("old", 95), ("fresh", 3)):
        aged(slug, days)
    aged("off", 99, enabled=False)
    assert [one.provider.slug for one in due(TODAY)] == ["old", "young"]
    assert [str(one) for one in due(TODAY)] == [
        "95 days old: used only with consent to “stored”",
        "60 days old: counts for 30 more",
    ]


# --- In the admin and at /health/detail ----------------------------------------------------------


def test_the_admin_says_so_in_its_index_and_its_list():
    aged("groq", 75, name="Groq")
    client = Client()
    client.force_login(make_user(is_staff=True, is_superuser=True))
    for path in ("/admin/", "/admin/gateway/provider/"):
        assert "75 days old: counts for 15 more" in client.get(path).text
    Provider.objects.update(retention_evidence_date=TODAY)
    for path in ("/admin/", "/admin/gateway/provider/"):
        assert "days old" not in client.get(path).text


def test_staff_who_may_not_see_providers_see_no_warning():
    aged("groq", 75)
    client = Client()
    client.force_login(make_user(is_staff=True))
    assert "days old" not in client.get("/admin/").text


def test_the_detail_of_health_says_so_to_who_has_the_token(settings):
    settings.METRICS_TOKEN = "t" * 32
    asked = {"headers": {"Authorization": f"Bearer {settings.METRICS_TOKEN}"}}
    assert Client().get("/health/detail", **asked).json() == {"status": "ok", "evidence": "ok"}
    aged("groq", 75)
    told = Client().get("/health/detail", **asked).json()
    assert told == {"status": "warning", "evidence": {"groq": "75 days old: counts for 15 more"}}
    assert Client().get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("token", ["", "t" * 32])
@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", "Basic x"])
def test_the_detail_of_health_is_for_nobody_else(settings, token, authorization):
    settings.METRICS_TOKEN = token
    answer = Client().get("/health/detail", headers={"Authorization": authorization})
    assert (answer.status_code, "evidence" in answer.text) == (401, False)


# --- By mail -------------------------------------------------------------------------------------


def test_the_operator_gets_a_mail_a_day_for_each_state(operator_email):
    aged("groq", 60)
    aged("mistral", 70)
    aged("together", 90)
    for _ in range(3):
        reminders.remind(TODAY)
    assert [(one.to, one.subject) for one in mail.outbox] == [
        ([OPERATOR], "Kyma: evidence of providers is soon too old"),
        ([OPERATOR], "Kyma: evidence of providers is too old to count"),
    ]
    ageing, too_old = (one.body for one in mail.outbox)
    assert all(name in ageing for name in ("groq", "mistral", "counts for 30 more"))
    assert "together" in too_old
    assert "groq" not in too_old

    assert reminders.remind(TODAY + dt.timedelta(days=1)) == list(EvidenceState)
    assert len(mail.outbox) == 4


def test_a_new_provider_on_the_same_day_waits_for_the_next(operator_email):
    aged("groq", 60)
    reminders.remind(TODAY)
    aged("mistral", 60)
    assert reminders.remind(TODAY) == []
    assert len(mail.outbox) == 1


def test_without_due_evidence_or_an_address_there_is_no_mail(settings):
    settings.OPERATOR_EMAIL = OPERATOR
    aged("fresh", 59)
    assert reminders.remind(TODAY) == []
    aged("groq", 60)
    settings.OPERATOR_EMAIL = ""
    assert reminders.remind(TODAY) == []
    assert (mail.outbox, OperatorMail.objects.count()) == ([], 0)


@pytest.mark.parametrize("error", [SMTPException, ConnectionRefusedError])
def test_a_mail_that_fails_is_sent_by_the_next_run(operator_email, monkeypatch, error):
    aged("groq", 60)

    def fail(*arguments):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(reminders.mails, "send", fail)
        assert reminders.remind(TODAY) == []
    assert reminders.remind(TODAY) == [EvidenceState.AGEING]


def test_days_long_past_are_forgotten(operator_email):
    OperatorMail.objects.create(subject="evidence-ageing", day=TODAY - dt.timedelta(days=31))
    reminders.remind(TODAY)
    assert not OperatorMail.objects.exists()


def test_beat_starts_the_task(operator_email):
    aged("groq", 60)
    scheduled = {one["task"] for one in celery_app.conf.beat_schedule.values()}
    assert "gateway.tasks.remind_of_evidence" in scheduled
    tasks.remind_of_evidence()
    assert len(mail.outbox) == 1
