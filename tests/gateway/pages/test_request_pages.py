"""The request log in pages: found, read in full, and emptied by its owner."""

import base64
import datetime as dt
import json
import uuid
from html import unescape

import orjson
import pytest
from django.utils import timezone

from accounts.ids import first_id_at, uuid7
from accounts.keyring import data_keys
from accounts.models import ApiKey
from gateway.commits.now import commit_now
from gateway.commits.operations import Content, Log
from gateway.models import (
    ApiRequest,
    ContentLeftOut,
    Provider,
    RequestContent,
    content_place,
)
from gateway.pages import request_search
from gateway.receipts import keys as receipt_keys
from gateway.receipts import receipt as receipts
from gateway.serving import sessions
from tests.support.factories import (
    make_ask,
    make_key,
    make_model,
    make_price,
    make_record,
    make_reserve,
    make_settle,
)

NOW = timezone.now()
HOUR = dt.timedelta(hours=1)
SAID = {
    "request": {
        "model": "llama",
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "What is 6 × 7?"}]},
        ],
    },
    "answer": [{"index": 0, "message": {"role": "assistant", "content": "<b>42</b>"}}],
    "ip": "192.0.2.7",
    "user_agent": "curl/8",
}


@pytest.fixture
def key(alice):
    return make_key(alice, name="scripts")[0]


@pytest.fixture
def page(client, alice):
    client.force_login(alice)
    return client


def asked(key: ApiKey, *, at: dt.datetime = NOW, said: dict | None = None, **fields) -> ApiRequest:
    """A request with this key that cost what its tokens cost, through the books."""
    user = key.user
    request_id = uuid.UUID(int=first_id_at(at).int | (uuid7().int & (1 << 62) - 1)).hex
    reserve = make_reserve(
        user.credit_account,
        make_price(),
        make_ask(1_000_000),
        key=key,
        now=at,
        request_id=request_id,
    )
    content = None
    if said is not None:
        cipher = data_keys.cipher_of(user.id)
        sealed = cipher.seal(orjson.dumps(said), content_place(request_id))
        purge_at = at + dt.timedelta(days=key.retention_days)
        content = Content(base64.b64encode(sealed).decode(), purge_at)
    usage = {"prompt_tokens": 1000, "cached_tokens": 200, "completion_tokens": 100}
    attempts = [{"provider": "groq", "route": "r", "status": 200}]
    record = {"model": "llama", "provider": "groq", "attempts": attempts, **usage, **fields}
    # 800 × 100 + 200 × 50 + 100 × 400 nano-dollars
    commit_now([reserve, make_settle(reserve, 130_000, content=content, **record)])
    return ApiRequest.objects.get(pk=uuid.UUID(request_id))


def refused(key: ApiKey, **fields) -> ApiRequest:
    """A request that held nothing."""
    reserve = make_reserve(key.user.credit_account, make_price(), make_ask(), key=key)
    ending = {"outcome": "refused", "status": 400, "price_version_id": None, **fields}
    commit_now([Log(make_record(reserve, **ending))])
    return ApiRequest.objects.get(pk=uuid.UUID(reserve.request_id))


def listed(response) -> list[uuid.UUID]:
    return [row.id for row in response.context["rows"]]


# --- The list ------------------------------------------------------------------------------------


def test_the_newest_stands_first_with_what_it_cost(page, key):
    older, newer = asked(key, at=NOW - HOUR), asked(key)
    response = page.get("/requests")
    assert listed(response) == [newer.id, older.id]
    text = response.content.decode()
    assert "$0.00013" in text
    assert "1,000" in text


def test_without_requests_it_says_so(page):
    assert "There is no request yet" in page.get("/requests").content.decode()
    assert "No request is like that" in page.get("/requests?session=x").content.decode()


def test_pages_go_on_where_the_last_one_ended(page, key, monkeypatch):
    monkeypatch.setattr(request_search, "PAGE", 2)
    rows = [asked(key, at=NOW - number // 2 * HOUR).id for number in range(5)]
    found, path = [], "/requests?model=llama"
    make_model("llama")
    while path:
        response = page.get(path)
        found += listed(response)
        older = response.context["older"]
        path = f"/requests?{older}" if older else ""
    by_time = sorted(ApiRequest.objects.all(), key=lambda row: (row.created_at, row.id))
    assert found == [row.id for row in reversed(by_time)]
    assert sorted(found) == sorted(rows)


def test_a_page_is_one_query_of_the_log(page, key, django_assert_max_num_queries):
    for _ in range(5):
        asked(key)
    with django_assert_max_num_queries(8):
        page.get("/requests")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("model=llama", "model"),
        ("provider=groq", "provider"),
        ("status=4xx", "refused"),
        ("status=5xx", "failed"),
        ("status=gone", "gone"),
        ("since=2031-05-02", "later"),
        ("until=2001-05-01", "early"),
        ("session=deal-7", "session"),
    ],
)
def test_filters_find_what_they_name(page, key, query, expected):
    make_model("llama")
    Provider.objects.create(slug="groq", name="Groq", base_url="http://groq.example")
    other = {"model": "qwen", "provider": "deepinfra"}
    session = sessions.hash_of("deal-7", key.user.credit_account.id.hex)
    early, late = dt.datetime(2001, 5, 1, tzinfo=dt.UTC), dt.datetime(2031, 5, 2, tzinfo=dt.UTC)
    asked_rows = {
        "model": asked(key, provider="deepinfra"),
        "provider": asked(key, model="qwen"),
        "refused": refused(key),
        "failed": asked(key, status=502, **other),
        "gone": asked(key, outcome="client-gone", **other),
        "later": asked(key, at=late, **other),
        "early": asked(key, at=early, **other),
        "session": asked(key, session_hash=session, **other),
    }
    assert listed(page.get(f"/requests?{query}")) == [asked_rows[expected].id]


def test_each_request_has_succeeded_was_refused_or_failed(page, key):
    rows = {
        "ok": [asked(key), asked(key, outcome="client-gone"), asked(key, outcome="replayed")],
        "4xx": [refused(key), asked(key, outcome="client-gone", status=499)],
        "5xx": [
            asked(key, outcome="upstream-failed", status=502),
            asked(key, outcome="upstream-failed", status=200),
            asked(key, outcome="kyma-failed", status=200),
            asked(key, outcome="empty", status=200),
            refused(key, outcome="lost", status=0),
        ],
    }
    for status, expected in rows.items():
        assert set(listed(page.get(f"/requests?status={status}"))) == {one.id for one in expected}


def test_a_request_that_was_lost_is_not_shown_as_a_good_one(page, key):
    lost = refused(key, outcome="lost", status=0)
    for path in ("/requests", f"/requests/{lost.id}"):
        text = page.get(path).content.decode()
        assert '<span class="badge bad">–</span>' in text
        assert "badge good" not in text


def test_the_requests_of_one_key_can_be_listed(page, key, alice, bob):
    other = make_key(alice)[0]
    asked(other)
    own = asked(key)
    assert listed(page.get(f"/requests?key={key.id}")) == [own.id]
    foreign = make_key(bob)[0]
    assert page.get(f"/requests?key={foreign.id}").status_code == 400


def test_days_are_those_of_whoever_looks(page, key):
    at = dt.datetime(2001, 5, 1, 20, tzinfo=dt.UTC)  # The second of May in Tokyo.
    row = asked(key, at=at)
    assert listed(page.get("/requests?since=2001-05-01&until=2001-05-01")) == [row.id]
    page.cookies["timezone"] = "Asia/Tokyo"
    assert listed(page.get("/requests?since=2001-05-01&until=2001-05-01")) == []
    assert listed(page.get("/requests?since=2001-05-02&until=2001-05-02")) == [row.id]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("since=yesterday", "Enter a valid date."),
        ("status=odd", "There is no such status: choose one of the list."),
        ("model=none", "There is no such model: choose one of the list."),
        ("provider=none", "There is no such provider: choose one of the list."),
        ("key=1", "This account has no such key: choose one of the list."),
        (f"key={uuid7()}", "This account has no such key: choose one of the list."),
    ],
)
def test_a_filter_that_makes_no_sense_is_said_with_what_to_do(page, query, why):
    response = page.get(f"/requests?{query}")
    assert response.status_code == 400
    assert "These filters can't be used" in unescape(response.text)
    assert why in unescape(response.text)


@pytest.mark.parametrize("cursor", ["x", str(uuid7())])
def test_a_page_that_never_was_is_not_there(page, cursor):
    assert page.get(f"/requests?before={cursor}").status_code == 404


# --- One in full ---------------------------------------------------------------------------------


def test_one_request_is_shown_in_full(page, key):
    attempts = [
        {"provider": "together", "route": "r1", "status": 503, "error": "overloaded", "ms": 12.4},
        {"provider": "groq", "route": "r2", "status": 200, "ms": 800.2},
    ]
    row = asked(key, said=SAID, attempts=attempts, latency_ms=813.0)
    text = page.get(f"/requests/{row.id}").content.decode()
    for part in ("Be short.", "What is 6 × 7?", "192.0.2.7", "curl/8", "together", "overloaded"):
        assert part in text
    for cost in ("$0.00008", "$0.00001", "$0.00004", "$0.00013", "$0.10", "$0.05", "$0.40"):
        assert cost in text
    assert str(row.price_version_id) in text
    assert f"{NOW + dt.timedelta(days=90):%b %Y}" in text


def test_what_was_said_is_text_and_no_markup(page, key):
    text = page.get(f"/requests/{asked(key, said=SAID).id}").content.decode()
    assert "&lt;b&gt;42&lt;/b&gt;" in text
    assert "<b>42</b>" not in text


def test_a_request_without_a_price_is_shown_too(page, key):
    row = refused(key, model="", error_type="invalid_request")
    text = page.get(f"/requests/{row.id}").content.decode()
    assert "Nothing was charged." in text
    assert "invalid_request" in text


def no_content(page, row) -> str:
    return page.get(f"/requests/{row.id}").context["why_none"]


def test_it_says_why_there_is_no_content(page, key):
    now = timezone.now()
    kept_nothing = asked(key)
    old = asked(key, at=now - dt.timedelta(days=91), said=SAID)
    lost = refused(key, outcome="lost")
    assert "was deleted, or its key kept nothing" in no_content(page, kept_nothing)
    assert "end of its retention: 90 days" in no_content(page, old)
    assert "died" in no_content(page, lost)
    assert "No provider was asked" in no_content(page, refused(key))
    assert "with the first of these" in no_content(page, refused(key, outcome="replayed"))
    over_budget, busy = (asked(key, content_left_out=one) for one in ContentLeftOut)
    assert "as much as it may within a day" in no_content(page, over_budget)
    assert "too much to write" in no_content(page, busy)
    ApiKey.objects.update(retention_days=0)
    assert "retention of its key is 0 days" in no_content(page, kept_nothing)
    ApiRequest.objects.filter(pk=kept_nothing.pk).update(key=None)
    assert "chat" in no_content(page, kept_nothing)


def test_content_whose_time_has_come_is_not_shown_before_the_job_takes_it(page, key):
    row = asked(key, said=SAID)
    RequestContent.objects.update(purge_at=timezone.now())
    assert "192.0.2.7" not in page.get(f"/requests/{row.id}").content.decode()


def test_damaged_content_is_told_and_breaks_nothing(page, key):
    row = asked(key, said=SAID)
    RequestContent.objects.update(sealed=b"x" * 40)
    assert "damaged" in no_content(page, row)


def test_the_signed_receipt_can_be_taken_away(page, key):
    row = asked(key, said=SAID)
    response = page.get(f"/requests/{row.id}/receipt.json")
    assert f"kyma-receipt-{row.id}.json" in response["Content-Disposition"]
    receipt = json.loads(response.content)
    assert receipt["total_nano"] == 130_000
    assert receipt["answer_sha256"]
    assert all(one.is_right for one in receipts.checks(receipt, receipt_keys.own()))


# --- Deleting ------------------------------------------------------------------------------------


def test_the_content_of_one_request_is_deleted_when_that_is_confirmed(page, key):
    gone, stays = asked(key, said=SAID), asked(key, said=SAID)
    path = f"/requests/{gone.id}/delete"
    assert "for good" in page.get(path).content.decode()
    assert RequestContent.objects.count() == 2
    assert page.post(path)["Location"] == f"/requests/{gone.id}"
    assert RequestContent.objects.get().id == stays.id
    assert "6 × 7" not in page.get(f"/requests/{gone.id}").content.decode()


def test_all_content_is_deleted_and_the_log_stays(page, key):
    for hours in (1, 2, 3):
        asked(key, at=NOW - hours * HOUR, said=SAID)
    assert page.get("/requests/content/delete").status_code == 200
    assert RequestContent.objects.count() == 3
    response = page.post("/requests/content/delete", follow=True)
    assert "The content of 3 requests is deleted." in response.content.decode()
    assert (RequestContent.objects.count(), ApiRequest.objects.count()) == (0, 3)


def test_who_has_asked_nothing_finds_nothing_to_filter_or_delete(page, key):
    def offers() -> list[bool]:
        text = page.get("/requests").content.decode()
        return ["Delete all content" in text, 'aria-label="Filters"' in text]

    assert offers() == [False, False]
    response = page.post("/requests/content/delete", follow=True)
    assert "There was no content to delete." in response.content.decode()
    asked(key, said=SAID)
    assert offers() == [True, True]
    response = page.post("/requests/content/delete", follow=True)
    assert "The content of 1 request is deleted." in response.content.decode()


# --- Who may -------------------------------------------------------------------------------------

PAGES = ["", "/receipt.json", "/delete"]


@pytest.mark.parametrize("which", PAGES)
def test_somebody_elses_request_is_not_there(client, key, bob, which):
    row = asked(key, said=SAID)
    client.force_login(bob)
    assert client.get(f"/requests/{row.id}{which}").status_code == 404
    assert client.post(f"/requests/{row.id}{which}").status_code in (404, 405)
    assert RequestContent.objects.count() == 1


def test_nobody_sees_or_deletes_all_of_somebody_else(client, key, bob):
    row = asked(key, said=SAID)
    client.force_login(bob)
    assert listed(client.get("/requests")) == []
    assert client.get(f"/requests?before={row.id}").status_code == 404
    client.post("/requests/content/delete")
    assert RequestContent.objects.count() == 1


@pytest.mark.parametrize("path", ["/requests/content/delete", f"/requests/{uuid7()}/delete"])
def test_a_stranger_is_sent_to_sign_in(client, path):
    assert "login" in client.post(path)["Location"]


def test_other_methods_are_refused(page, key):
    row = asked(key)
    assert page.post("/requests").status_code == 405
    assert page.post(f"/requests/{row.id}").status_code == 405
    assert page.post(f"/requests/{row.id}/receipt.json").status_code == 405
    assert page.put(f"/requests/{row.id}/delete").status_code == 405
