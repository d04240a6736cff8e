"""Content that its owner deletes is gone, and nobody else's is (P3)."""

import datetime as dt
import uuid

import pytest

from accounts.ids import uuid7
from billing.models import CreditAccount
from gateway.log import content
from gateway.models import IdempotentRequest, RequestContent
from tests.support.factories import make_account

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture
def account():
    return make_account()


@pytest.fixture
def other():
    return make_account()


def keep(account: CreditAccount, request_id: uuid.UUID | None = None) -> uuid.UUID:
    """The content of a request; its id."""
    now = dt.datetime.now(dt.UTC)
    row = RequestContent.objects.create(
        id=request_id or uuid7(),
        account_id=account.id,
        sealed=b"sealed",
        purge_at=now + dt.timedelta(days=90),
    )
    return row.id


def keep_answer(account: CreditAccount, request_id: uuid.UUID) -> IdempotentRequest:
    now = dt.datetime.now(dt.UTC)
    return IdempotentRequest.objects.create(
        id=uuid.uuid4().hex,
        account=account,
        request_id=request_id,
        body_digest="digest",
        completed_at=now,
        answer=b"sealed",
        expires_at=now + dt.timedelta(days=1),
    )


def kept() -> set:
    return set(RequestContent.objects.values_list("id", flat=True))


def test_the_content_of_one_request_goes_and_the_rest_stays(account):
    gone, stays = keep(account), keep(account)
    assert content.delete_of_request(account.id, gone)
    assert kept() == {stays}
    assert not content.delete_of_request(account.id, gone)


def test_nobody_deletes_what_is_somebody_elses(account, other):
    theirs = keep(other)
    answer = keep_answer(other, theirs)
    assert not content.delete_of_request(account.id, theirs)
    assert content.delete_all(account.id) == 0
    answer.refresh_from_db()
    assert (kept(), bytes(answer.answer)) == ({theirs}, b"sealed")


def test_the_answer_kept_for_a_key_goes_too_and_the_key_stays_taken(account):
    request_id, stays = keep(account), keep_answer(account, uuid7())
    answer = keep_answer(account, request_id)
    content.delete_of_request(account.id, request_id)
    for row in (answer, stays):
        row.refresh_from_db()
    assert (answer.answer, bytes(stays.answer)) == (None, b"sealed")
    now = dt.datetime.now(dt.UTC)
    assert answer in IdempotentRequest.objects.standing(now)


def test_an_answer_goes_even_if_the_content_is_gone_already(account):
    answer = keep_answer(account, uuid7())
    assert content.delete_of_request(account.id, answer.request_id)
    answer.refresh_from_db()
    assert answer.answer is None


def test_all_of_an_account_goes_in_batches(account, other, monkeypatch):
    monkeypatch.setattr(content, "BATCH", 2)
    answers = [keep_answer(account, keep(account)) for _ in range(5)]
    theirs = keep(other)
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    assert content.delete_all(account.id, soon) == len(answers)
    assert kept() == {theirs}
    assert not IdempotentRequest.objects.filter(account=account, answer__isnull=False).exists()


def test_what_comes_in_meanwhile_is_no_reason_to_go_on_for_ever(account):
    keep(account)
    asked_at = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    assert content.delete_all(account.id, asked_at) == 0
    assert len(kept()) == 1
