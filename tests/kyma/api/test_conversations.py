"""Conversations at /api/: opened for their owner, changed, deleted with all that is in them."""

import pytest

from chat import conversations
from chat.models import Conversation, Message
from kyma.api import messages as api_messages
from kyma.api.conversations import ChatResource
from tests.support.api_client import bearing, by_key, signed_in
from tests.support.api_things import MODEL, Things
from tests.support.chat.writing import say
from tests.support.factories import cap_key, make_key

pytestmark = pytest.mark.usefixtures("books")


@pytest.fixture
def client(alice):
    return by_key(alice, scopes=["chat"])


def change(client, conversation, **body):
    path = f"/api/conversations/{conversation.id}"
    return client.patch(path, body, content_type="application/json")


def test_a_conversation_is_begun_and_read(client):
    body = {
        "model": "open/small",
        "title": " Tides  and moon",
        "system_prompt": "Be brief.",
        "parameters": {"temperature": 0.5, "max_tokens": 100},
    }
    answer = client.post("/api/conversations", body, content_type="application/json")
    assert answer.status_code == 201
    made = answer.json()
    assert client.get(f"/api/conversations/{made['id']}").json() == made
    assert (made["title"], made["system_prompt"]) == ("Tides and moon", "Be brief.")
    assert made["parameters"] == {"temperature": 0.5, "max_tokens": 100}
    assert made["leaf_id"] is None


def test_a_conversation_is_renamed_pinned_archived_and_set_up(client, alice):
    conversation = Things(alice).conversation
    told = change(
        client,
        conversation,
        title="Tides",
        pinned=True,
        archived=True,
        model="other",
        system_prompt="",
        parameters={"top_p": 0.1},
    ).json()
    assert (told["title"], told["model"], told["system_prompt"]) == ("Tides", "other", "")
    assert told["pinned_at"]
    assert told["archived_at"]
    assert told["parameters"] == {"top_p": 0.1}
    told = change(client, conversation, pinned=False).json()
    assert told["pinned_at"] is None
    assert told["archived_at"]


def test_archived_conversations_are_listed_apart(client, alice):
    here, away = Things(alice).conversation, Things(alice).conversation
    change(client, away, archived=True)
    for query, wanted in [("", here), ("?archived=false", here), ("?archived=true", away)]:
        (told,) = client.get(f"/api/conversations{query}").json()["data"]
        assert (told["id"], told["title"]) == (str(wanted.id), "How do tides work?")


def test_messages_are_opened(client, alice):
    conversation = Things(alice).conversation
    path = f"/api/conversations/{conversation.id}/messages"
    told = {one["role"]: one for one in client.get(path).json()["data"]}
    question, reply = told["user"], told["assistant"]
    assert (question["role"], question["text"]) == ("user", "How do tides work?")
    assert question["cost"] == {"usd": "0.0", "nano": 0}
    assert (reply["text"], reply["state"]) == ("By the moon.", "finished")
    assert reply["cost"] == {"usd": "0.000000021", "nano": 21}
    assert reply["parent_id"] == question["id"]
    assert client.get(f"{path}/{reply['id']}").json() == reply


def post_message(client, conversation, **body):
    path = f"/api/conversations/{conversation.id}/messages"
    return client.post(path, body, content_type="application/json")


def test_what_is_said_begins_a_reply(client, alice):
    conversation = Things(alice).conversation
    answer = post_message(client, conversation, text="  And neap tides?\n")
    assert answer.status_code == 202
    reply = answer.json()
    assert (reply["role"], reply["state"], reply["cost"]) == ("assistant", "streaming", None)
    path = f"/api/conversations/{conversation.id}/messages"
    assert client.get(f"{path}/{reply['parent_id']}").json()["text"] == "  And neap tides?\n"
    assert client.post(f"{path}/{reply['id']}/stop").status_code == 204


def test_one_reply_at_a_time(client, alice):
    conversation = Things(alice).conversation
    assert post_message(client, conversation, text="One").status_code == 202
    answer = post_message(client, conversation, text="Two")
    assert (answer.status_code, answer.json()["code"]) == (409, "still_answering")


@pytest.mark.parametrize("body", [{}, {"text": " "}, {"text": "x", "images": ["http://a/b"]}])
def test_what_says_nothing_is_refused(body, client, alice):
    answer = post_message(client, Things(alice).conversation, **body)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"


def test_a_message_is_edited_and_a_reply_written_once_more(client, alice):
    things = Things(alice)
    path = f"/api/conversations/{things.conversation.id}/messages"
    first, reply = things.message, things.reply
    again = client.post(f"{path}/{reply.id}/regenerate").json()
    assert (again["parent_id"], again["state"]) == (str(first.id), "streaming")
    Message.objects.filter(pk=again["id"]).update(state="finished", cost_nano=0)
    body = {"text": "Why?"}
    other = client.post(f"{path}/{first.id}/edit", body, content_type="application/json").json()
    said = client.get(f"{path}/{other['parent_id']}").json()
    assert (said["text"], said["parent_id"]) == ("Why?", None)


def test_only_what_one_said_is_edited(client, alice):
    things = Things(alice)
    path = f"/api/conversations/{things.conversation.id}/messages/{things.reply.id}/edit"
    answer = client.post(path, {"text": "Why?"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "not_allowed")


def test_ones_own_conversations_are_searched(client, alice, bob):
    hers, his = Things(alice), Things(bob)
    assert hers.conversation != his.conversation
    told = client.get("/api/conversations/search?text=DO tides").json()["data"]
    assert {one["conversation_id"] for one in told} == {str(hers.conversation.id)}
    assert {one["message_id"] for one in told} == {None, str(hers.message.id)}
    assert told[0]["match"] == "do tides"
    assert client.get("/api/conversations/search?text=volcano").json()["data"] == []
    assert client.get("/api/conversations/search").status_code == 400


@pytest.mark.parametrize(
    "rules", [{"allowed_models": ["other"]}, {"requests_per_minute": 5}, {"cap": 100}]
)
def test_a_key_with_limits_of_its_own_begins_no_reply(rules, alice):
    cap = rules.pop("cap", None)
    key, text = make_key(alice, scopes=["chat"], **rules)
    if cap:
        cap_key(key, day_cap_nano=cap)
    answer = post_message(bearing(text), Things(alice).conversation, text="Hello")
    assert (answer.status_code, answer.json()["code"]) == (403, "key_has_limits")


def test_a_message_of_another_conversation_isn_t_there(client, alice):
    one, other = Things(alice), Things(alice)
    path = f"/api/conversations/{one.conversation.id}/messages/{other.message.id}"
    assert client.get(path).status_code == 404
    assert client.post(f"{path}/stop").status_code == 404


def test_a_deleted_conversation_is_gone_with_its_messages(client, alice, bob):
    conversation = Things(alice).conversation
    kept = Things(bob).conversation
    assert client.delete(f"/api/conversations/{conversation.id}").status_code == 204
    assert client.get(f"/api/conversations/{conversation.id}").status_code == 404
    assert set(Conversation.objects.all()) == {kept}
    assert set(Message.objects.all()) == set(kept.messages.all())


def test_a_person_sees_their_own_conversations_alone(alice, bob):
    hers = Things(alice).conversation
    assert hers
    assert signed_in(bob).get("/api/conversations").json()["data"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"title": ""}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": None}, "title"),
        ({"parameters": {"temprature": 1}}, "parameters.temprature"),
        ({"parameters": {"max_tokens": "many"}}, "parameters.max_tokens"),
        ({"leaf_id": None}, "leaf_id"),
    ],
)
def test_what_is_no_change_is_refused_by_field(body, field, client, alice):
    answer = change(client, Things(alice).conversation, **body)
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["errors"]] == [field]


def test_what_is_deleted_meanwhile_is_not_changed(client, alice, monkeypatch):
    conversation, find = Things(alice).conversation, ChatResource.find

    def deleted(resource, conversation_id):
        found = find(resource, conversation_id)
        conversations.delete(alice, ids=[found.id])
        return found

    monkeypatch.setattr(ChatResource, "find", deleted)
    assert change(client, conversation, title="New").status_code == 404


def test_nothing_is_changed_by_half(client, alice):
    conversation = Things(alice).conversation
    answer = change(client, conversation, title="New", parameters={"temperature": 99})
    assert (answer.status_code, answer.json()["code"]) == (400, "not_allowed")
    told = client.get(f"/api/conversations/{conversation.id}").json()
    assert told["title"] == "How do tides work?"


@pytest.mark.parametrize(("most", "pages"), [(10_000, [4]), (250, [2, 2]), (1, [1, 1, 1, 1])])
def test_a_page_of_long_messages_holds_fewer(client, alice, monkeypatch, most, pages):
    monkeypatch.setattr(api_messages, "MOST_BYTES", most)
    conversation = conversations.start(alice, model=MODEL)
    said = [say(conversation, "x" * 80) for _ in range(4)]
    path, cursor, counts, seen = f"/api/conversations/{conversation.id}/messages", None, [], []
    while cursor or not counts:
        told = client.get(path, {"cursor": cursor} if cursor else {}).json()
        counts.append(len(told["data"]))
        seen += [one["id"] for one in told["data"]]
        cursor = told["next_cursor"]
    assert counts == pages
    assert seen == sorted((str(one.id) for one in said), reverse=True)
