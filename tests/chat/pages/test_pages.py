"""The chat's pages, without a browser and without a provider."""

import datetime as dt
import html
import re

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient, Client
from django.urls import reverse

from chat import messages, replies
from chat.models import Conversation, Message
from gateway.errors import Unavailable
from privacy import provider_policy
from tests.support.chat.writing import say, talk
from tests.support.factories import make_provider, make_route

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture(autouse=True)
def a_model(books):
    return make_route("scripted", provider=make_provider(self_hosted=True))


@pytest.fixture
def hers(alice) -> Client:
    return signed_in(alice)


def signed_in(user) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(answer) -> str:
    return answer.content.decode()


def page(client: Client, conversation: Conversation) -> str:
    return text_of(client.get(f"/chat/{conversation.id}"))


# --- The list ------------------------------------------------------------------------------------


def test_whoever_is_new_is_invited_to_write(hers):
    text = text_of(hers.get("/chat"))
    assert 'action="/chat/start"' in text
    assert "Your chats will be listed here" in text


def test_the_pinned_stand_first(alice, hers):
    first = talk(alice, "a", title="Older but pinned")
    talk(alice, "b", title="Newer")
    hers.post(f"/chat/{first.id}/pin", {"pinned": "yes"})
    text = text_of(hers.get("/chat"))
    assert text.index("Older but pinned") < text.index("Newer")


def test_what_is_archived_is_listed_apart(alice, hers):
    old = talk(alice, "a", title="Put away")
    hers.post(f"/chat/{old.id}/archive", {"archived": "yes"})
    hers.get("/chat")  # Says that it was archived.
    assert "Put away" not in text_of(hers.get("/chat/all"))
    assert "Put away" in text_of(hers.get("/chat/all?archived=yes"))


def test_search_finds_what_was_said(alice, hers):
    talk(alice, "How do whales sleep?", "With half a brain.", title="Whales")
    text = text_of(hers.get("/chat/all", {"q": "half a"}))
    assert "<mark>half a</mark> brain" in text
    assert "stands in none of your chats" in text_of(hers.get("/chat/all", {"q": "dolphin"}))


def test_many_are_deleted_at_once_and_nobody_elses(alice, bob, hers):
    mine, his = talk(alice, "a"), talk(bob, "b")
    kept = talk(alice, "c")
    answer = hers.post("/chat/delete", {"ids": [mine.id, his.id, "no id"]}, follow=True)
    assert "Deleted 1 conversation," in text_of(answer)
    assert set(Conversation.objects.all()) == {his, kept}


# --- One conversation ----------------------------------------------------------------------------


def test_an_answer_is_shown_as_markdown_and_what_one_said_as_it_was_written(alice, hers):
    text = page(hers, talk(alice, "Is *this* <b>bold</b>?", "It is **bold**. <b>This</b> isn't."))
    assert "Is *this* &lt;b&gt;bold&lt;/b&gt;?" in text
    assert "It is <strong>bold</strong>. &lt;b&gt;This&lt;/b&gt; isn't." in text


def test_tokens_and_cost_stand_beside_an_answer(alice, hers):
    conversation = talk(alice, "Hello")
    say(conversation, "Hi", prompt_tokens=12, completion_tokens=7, cost_nano=1500)
    text = page(hers, conversation)
    assert "12 tokens in, 7 out" in text
    assert "$0.0000015" in text


def test_a_stopped_answer_says_so_and_what_it_cost(alice, hers):
    conversation = talk(alice, "Hello")
    say(conversation, "H", state="stopped", completion_tokens=1, cost_nano=400, estimated=True)
    text = page(hers, conversation)
    assert "Stopped" in text
    assert "$0.0000004" in text
    assert "(estimated)" in text


def test_what_failed_for_want_of_credit_leads_to_billing(alice, hers):
    conversation = talk(alice, "Hello")
    say(conversation, "", state="failed", error="insufficient_credits")
    text = page(hers, conversation)
    assert f'href="{reverse("billing")}">Add credit' in text
    assert "Try again" in text


@pytest.mark.parametrize(
    ("cost_nano", "said"),
    [(0, "nothing was charged for it"), (400, "and was charged"), (None, "shows within minutes")],
)
def test_an_interrupted_reply_says_what_it_cost(alice, hers, cost_nano, said):
    conversation = talk(alice, "Hi")
    say(conversation, "Hel", state="interrupted", cost_nano=cost_nano)
    shown = page(hers, conversation)
    assert said in shown
    assert ("nothing was charged" in shown) == (cost_nano == 0)
    assert ("$0.0000004" in shown) == bool(cost_nano)


def test_an_answer_that_is_being_written_is_followed_with_and_without_javascript(alice, hers):
    conversation = talk(alice, "Hello")
    reply = say(conversation, "What has come", state="streaming", cost_nano=None)
    text = page(hers, conversation)
    assert f'data-events="/chat/messages/{reply.id}/events"' in text
    assert '<noscript><meta http-equiv="refresh" content="3"></noscript>' in text
    assert f'action="/chat/messages/{reply.id}/stop"' in text
    assert "What has come" in text


def test_one_version_of_a_message_leads_to_the_others(alice, hers):
    conversation = talk(alice, "Hello", "First answer")
    first = conversation.leaf
    second = say(conversation, "Second answer", after=first.parent)
    text = page(hers, conversation)
    assert "2/2" in text
    assert "First answer" not in text
    answer = hers.post(f"/chat/messages/{first.id}/show")
    assert answer.url == f"/chat/{conversation.id}?at={first.id}#m-{first.id}"
    text = page(hers, conversation)
    assert "First answer" in text
    assert f"/chat/messages/{second.id}/show" in text


def test_a_message_alone_is_what_the_page_shows_of_it(alice, hers):
    conversation = talk(alice, "Hello", "Hi **there**")
    text = text_of(hers.get(f"/chat/messages/{conversation.leaf_id}"))
    assert "Hi <strong>there</strong>" in text
    assert "<html" not in text


def test_a_conversation_is_renamed(alice, hers):
    conversation = talk(alice, "Hello", title="Old")
    hers.post(f"/chat/{conversation.id}/rename", {"title": "A new <title>"})
    assert "<h1>A new &lt;title&gt;</h1>" in page(hers, conversation)


def test_instructions_and_parameters_are_kept(alice, hers):
    conversation = talk(alice, "Hello")
    sent = {"system_prompt": "Answer in rhymes.", "temperature": "0.3", "top_p": ""}
    hers.post(f"/chat/{conversation.id}/settings", sent)
    conversation.refresh_from_db()
    assert conversation.parameters == {"temperature": 0.3}
    assert "Answer in rhymes." in page(hers, conversation)


def test_a_parameter_that_is_out_of_range_is_explained_and_nothing_lost(alice, hers):
    conversation = talk(alice, "Hello")
    sent = {"system_prompt": "Answer in rhymes.", "temperature": "7"}
    answer = hers.post(f"/chat/{conversation.id}/settings", sent)
    assert answer.status_code == 422
    assert "less than or equal to 2" in text_of(answer)
    assert "Answer in rhymes." in text_of(answer)


def test_settings_are_saved_all_or_none(alice, hers, settings):
    conversation = talk(alice, "Hello")
    settings.CHAT_BYTES_PER_PERSON = 1
    sent = {"system_prompt": "Answer in rhymes.", "temperature": "0.3"}
    answer = hers.post(f"/chat/{conversation.id}/settings", sent)
    assert answer.status_code == 422
    assert "Your chats are full" in text_of(answer)
    conversation.refresh_from_db()
    assert conversation.parameters == {}


@pytest.mark.parametrize("action", ["send", "edit", "regenerate"])
def test_a_model_that_is_picked_is_kept_only_with_what_it_is_asked(
    action, alice, hers, settings, a_model, monkeypatch
):
    rule = {"send": messages.say, "edit": messages.edit, "regenerate": messages.regenerate}[action]
    monkeypatch.setattr(replies, action, sync_to_async(rule))  # In the thread of this test's books.
    make_route("other", provider=a_model.provider)
    conversation = talk(alice, "Hello", "Hi")
    settings.CHAT_BYTES_PER_PERSON = 1
    path = {
        "send": f"/chat/{conversation.id}/send",
        "edit": f"/chat/messages/{conversation.leaf.parent_id}/edit",
        "regenerate": f"/chat/messages/{conversation.leaf_id}/regenerate",
    }[action]
    answer = hers.post(path, {"text": "My draft", "model": "other"})
    assert answer.status_code == 422
    assert re.search(r'value="other"[^>]* checked', text_of(answer))  # As the draft is kept.
    conversation.refresh_from_db()
    assert conversation.model == "scripted"


def test_what_is_deleted_is_gone(alice, hers):
    conversation = talk(alice, "Hello", "Hi")
    answer = hers.post(f"/chat/{conversation.id}/delete")
    assert answer.url == "/chat"
    assert not Message.objects.exists()
    assert hers.get(f"/chat/{conversation.id}").status_code == 404


# --- What can't be said --------------------------------------------------------------------------


def test_out_of_credit_the_draft_stays_and_billing_is_a_click_away(bob):
    answer = signed_in(bob).post("/chat/start", {"text": "My <long> draft", "model": "scripted"})
    text = text_of(answer)
    assert answer.status_code == 402
    assert "My &lt;long&gt; draft</textarea>" in text
    assert re.search(rf'data-code="insufficient_credits" href="{reverse("billing")}">', text)
    assert not Conversation.objects.exists()


def test_in_a_conversation_too(bob):
    conversation = talk(bob, "Hello", "Hi")
    client = signed_in(bob)
    sent = {"text": "My draft", "model": "scripted"}
    answer = client.post(f"/chat/{conversation.id}/send", sent)
    assert answer.status_code == 402
    assert "My draft</textarea>" in text_of(answer)
    assert "Hi" in text_of(answer)


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({"text": "  ", "model": "scripted"}, "Write something first."),
        ({"text": "Hello", "model": "no-such"}, "This model can't be used right now."),
        ({"text": "Look", "model": "scripted", "images": "png"}, "sees no images"),
        ({"text": "Look", "model": "scripted", "images": "text"}, "is no PNG, JPEG"),
    ],
)
def test_what_is_refused_is_explained_and_stored_nowhere(sent, why, hers):
    files = {"png": PNG, "text": b"<svg onload=alert(1)>"}
    if "images" in sent:
        sent = {**sent, "images": SimpleUploadedFile("a.png", files[sent["images"]])}
    answer = hers.post("/chat/start", sent)
    assert answer.status_code == 422
    assert why in html.unescape(text_of(answer))
    assert not Conversation.objects.exists()


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_without_a_database_for_it_nothing_is_begun_and_the_draft_stays(accept, hers, monkeypatch):
    async def fail():
        raise Unavailable("Kyma can't read its catalogue right now.")

    monkeypatch.setattr(replies, "catalogue", fail)
    sent = {"text": "My draft", "model": "scripted"}
    answer = hers.post("/chat/start", sent, headers={"Accept": accept})
    assert answer.status_code == 503
    assert "read its catalogue right now." in text_of(answer)
    assert ("My draft</textarea>" in text_of(answer)) == (accept == "text/html")
    assert not Conversation.objects.exists()


@pytest.mark.parametrize("credit", [True, False])
def test_a_page_that_asks_for_json_hears_why_and_keeps_its_draft(credit, alice, bob):
    client = signed_in(alice if credit else bob)
    sent = {"text": "Hello", "model": "no-such" if credit else "scripted"}
    answer = client.post("/chat/start", sent, headers={"Accept": "application/json"})
    assert answer.status_code == (422 if credit else 402)
    assert answer.json()["code"] == ("not_allowed" if credit else "insufficient_credits")
    assert answer.json()["message"]


def test_without_any_model_the_page_says_why(alice, hers, a_model):
    a_model.provider.self_hosted = False
    a_model.provider.save()
    text = text_of(hers.get("/chat"))
    assert "No model can be used right now" in text
    assert reverse("privacy_settings") in text


def test_without_consent_the_page_says_what_it_would_add(alice, hers, a_model):
    today = dt.datetime.now(dt.UTC).date()
    keeps = make_provider(retention="abuse_30d", retention_evidence_date=today)
    make_route("kept", provider=keeps)
    assert "1 more model needs your consent" in text_of(hers.get("/chat"))
    answer = hers.post("/chat/start", {"text": "Hello", "model": "kept"})
    assert answer.status_code == 422
    text = text_of(answer)
    assert "(abuse_30d) gives one provider: no failover." in text
    assert re.search(r'data-code="no_route" href="/settings/privacy#providers">', text)
    assert not Conversation.objects.exists()

    provider_policy.choose(alice, "abuse_30d")
    assert "need your consent" not in text_of(hers.get("/chat"))
    assert "Kept" in text_of(hers.get("/chat"))


def test_a_temporary_chat_wants_a_conversation(hers):
    for body in (b"", b"[]", b'{"messages": []}', b'{"messages": [{"role": "system"}]}'):
        answer = hers.post("/chat/temporary/reply", body, content_type="application/json")
        assert answer.status_code == 422
        assert answer.json()["message"]
    assert not Message.objects.exists()


def test_a_temporary_chat_of_who_has_no_credit_says_so(bob):
    body = {"model": "scripted", "messages": [{"role": "user", "text": "Hello"}]}
    address = "/chat/temporary/reply"
    answer = signed_in(bob).post(address, body, content_type="application/json")
    assert answer.json()["code"] == "insufficient_credits"


# --- The picker ----------------------------------------------------------------------------------


def test_a_model_is_offered_with_its_price_and_its_providers_policy(hers, a_model):
    a_model.provider.privacy_policy_url = "https://provider.example/privacy"
    a_model.provider.save()
    text = text_of(hers.get("/chat"))
    assert "$0.10 in, $0.40 out per million tokens" in text
    assert "8,192 tokens of context" in text
    assert 'href="https://provider.example/privacy"' in text


# --- Files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "md"])
def test_what_is_exported_can_be_imported(kind, alice, bob, hers):
    conversation = talk(alice, "How do whales sleep?", "With half a brain.", title="Whales")
    file = hers.get(f"/chat/{conversation.id}/export.{kind}")
    assert file["Content-Disposition"].startswith("attachment; filename=")
    his = signed_in(bob)
    answer = his.post(
        "/chat/import", {"file": SimpleUploadedFile("chats", file.getvalue())}, follow=True
    )
    assert "With half a brain." in text_of(answer)
    assert Conversation.objects.filter(user=bob).count() == 1


def test_the_ticked_are_exported_or_all(alice, hers):
    ticked = talk(alice, "a", title="Ticked")
    talk(alice, "b", title="Not ticked")
    assert b"Not ticked" not in hers.post("/chat/export.json", {"ids": [ticked.id]}).getvalue()
    assert b"Not ticked" in hers.get("/chat/export.json").getvalue()


@pytest.mark.parametrize("kind", ["json", "md"])
def test_under_asgi_an_export_is_streamed(kind, alice):
    talk(alice, "How do whales sleep?")

    async def download() -> bytes:
        client = AsyncClient()
        await client.aforce_login(alice)
        answer = await client.get(f"/chat/export.{kind}")
        assert answer.is_async
        return b"".join([part async for part in answer.streaming_content])

    assert b"How do whales sleep?" in async_to_sync(download)()


def test_a_file_that_is_no_conversation_is_refused_with_a_reason(hers):
    answer = hers.post("/chat/import", {"file": SimpleUploadedFile("chats", b"\x00\x01")})
    assert answer.status_code == 422
    assert "errorlist" in text_of(answer)


# --- Strangers and wrong methods -----------------------------------------------------------------


def test_strangers_are_sent_to_sign_in(alice):
    conversation = talk(alice, "Hello")
    for path in ("/chat", f"/chat/{conversation.id}", "/chat/all", "/chat/export.json"):
        assert "/accounts/login/" in Client().get(path).url


def test_somebody_elses_is_not_there(alice, bob):
    conversation = talk(alice, "Hello", "Hi")
    client = signed_in(bob)
    assert client.get(f"/chat/{conversation.id}").status_code == 404
    assert client.get(f"/chat/messages/{conversation.leaf_id}/events").status_code == 404
    assert client.post(f"/chat/{conversation.id}/delete").status_code == 404
    assert Conversation.objects.filter(pk=conversation.pk).exists()


def test_what_changes_something_wants_a_post(alice, hers):
    conversation = talk(alice, "Hello", "Hi")
    for action in ("send", "rename", "pin", "archive", "settings", "delete"):
        assert hers.get(f"/chat/{conversation.id}/{action}").status_code == 405
    for action in ("show", "stop", "edit", "regenerate"):
        answer = hers.get(f"/chat/messages/{conversation.leaf_id}/{action}")
        assert answer.status_code == 405
