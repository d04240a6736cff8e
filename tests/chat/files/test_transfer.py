"""Conversations as files: what goes out comes in again, and what is no conversation doesn't."""

import tracemalloc

import orjson
import pytest
from django.db.models.signals import post_init
from hypothesis import given
from hypothesis import strategies as st

from accounts.ids import uuid7
from chat import conversations, messages
from chat.errors import ImportRefused
from chat.files import markdown_file, transfer
from chat.files.portable import Portable, PortableMessage
from chat.models import Conversation, Message
from tests.support.chat.writing import say, talk

pytestmark = pytest.mark.usefixtures("books")

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def taken_in(user, content: str | bytes | dict | list) -> list[Conversation]:
    if isinstance(content, dict | list):
        content = orjson.dumps(content)
    raw = content.encode() if isinstance(content, str) else content
    return transfer.import_file(user, content=raw, model="scripted")


def as_json(user, **which) -> bytes:
    return b"".join(transfer.json_parts(user, **which))


def as_markdown(user, **which) -> bytes:
    return b"".join(transfer.markdown_parts(user, **which))


def shown(conversation: Conversation) -> list[tuple[str, str]]:
    return [(one.message.role, one.text) for one in messages.page_of(conversation).shown]


# --- Out and in again ----------------------------------------------------------------------------


def test_json_brings_back_every_branch(alice, bob):
    fields = {"system_prompt": "Be kind.", "parameters": {"top_p": 0.5}}
    one = talk(alice, "Hi", "Hello!", title="A talk " + "of length " * 12, **fields)
    first = one.messages.get(parent=None)
    say(one, "Good day", after=first, provider="local", cost_nano=1500, model="other")
    say(one, "And now?")
    conversations.change(one, pinned=True)
    (copy,) = taken_in(bob, as_json(alice))
    assert shown(copy) == shown(one)
    assert [text for _, text in shown(copy)] == ["Hi", "Good day", "And now?"]
    assert messages.page_of(copy).shown[1].position == 2
    assert copy.messages.count() == 4
    assert (copy.user, copy.parameters) == (bob, {"top_p": 0.5})
    again = orjson.loads(as_json(bob))["conversations"][0]
    original = orjson.loads(as_json(alice))["conversations"][0]
    assert again["messages"][0] == {"role": "system", "content": "Be kind."}
    for name in ("title", "model", "parameters", "pinned", "leaf", "created_at"):
        assert again[name] == original[name]


def test_messages_of_one_millisecond_go_out_in_their_order(alice, bob):
    later, earlier = sorted((uuid7(), uuid7()), reverse=True)
    conversation = talk(alice)
    say(conversation, "Hi", id=later)
    say(conversation, "Hello!", id=earlier)
    (copy,) = taken_in(bob, as_json(alice))
    assert shown(copy) == [("user", "Hi"), ("assistant", "Hello!")]


def test_what_comes_in_costs_nothing(alice):
    say(talk(alice, "Hi"), "Hello!", cost_nano=1500, prompt_tokens=3)
    exported = as_json(alice)
    assert orjson.loads(exported)["conversations"][0]["messages"][1]["cost_usd"] == "0.0000015"
    (copy,) = taken_in(alice, exported)
    reply = copy.messages.get(role="assistant")
    assert (reply.cost_nano, reply.prompt_tokens, reply.provider) == (0, 0, "")
    assert (reply.state, reply.request_id) == (Message.State.FINISHED, None)


def test_markdown_brings_back_the_branch_that_is_shown(alice, bob):
    one = talk(alice, "Hi", "# A heading\n\n## User\n\\## User\nHello!", title="T", model="m")
    conversations.change(one, system_prompt="Be kind.\n\nAlways.")
    (copy,) = taken_in(bob, as_markdown(alice))
    assert shown(copy) == shown(one)
    assert copy.model == "m"
    assert as_markdown(bob) == as_markdown(alice)


def test_images_go_out_and_come_in(alice, bob):
    document = {"messages": [{"role": "user", "content": [image(PIXEL)]}]}
    taken_in(alice, document)
    for exported in (as_json(alice), as_markdown(alice)):
        (copy,) = taken_in(bob, exported)
        assert messages.page_of(copy).shown[0].images == [PIXEL]


def test_some_conversations_or_all_of_ones_own_go_out(alice, bob):
    one, _ = talk(alice, "Hi", title="One"), talk(alice, "Hi", title="Two")
    talk(bob, "Three")
    assert titles(as_json(alice)) == {"One", "Two"}
    assert titles(as_json(alice, ids=[one.id])) == {"One"}
    assert titles(as_json(bob, ids=[one.id])) == set()
    assert as_markdown(alice).count(markdown_file.NEXT.encode()) == 1


def test_json_in_parts_is_laid_out_as_if_it_were_written_at_once(alice, bob):
    talk(alice, "Hi", "Hello!", title="One", system_prompt="Be kind.\nAlways.")
    talk(alice, title="Empty")
    for user in (alice, bob):
        exported = as_json(user)
        assert orjson.dumps(orjson.loads(exported), option=orjson.OPT_INDENT_2) == exported


def test_messages_are_read_a_few_at_a_time(alice, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_ROWS", 10)
    monkeypatch.setattr(transfer, "PART_BYTES", 1)
    talk(alice, *["text"] * 35, title="Long")
    assert most_ahead(transfer.json_parts(alice), b'"created_at"') <= 10 + 1
    assert most_ahead(transfer.markdown_parts(alice), b"\ntext") <= 10


def most_ahead(parts, each: bytes) -> int:
    """How many messages were read, but not yet written, at the most."""
    read, written, most = [], 0, 0

    def count(sender, instance, **more):
        read.append(instance.pk)

    post_init.connect(count, sender=Message)
    try:
        for part in parts:
            most = max(most, len(read) - written)
            written += part.count(each)
    finally:
        post_init.disconnect(count, sender=Message)
    assert len(read) == 35
    return most


@pytest.mark.parametrize("export", [transfer.json_parts, transfer.markdown_parts])
def test_memory_does_not_grow_with_what_is_exported(alice, monkeypatch, export):
    monkeypatch.setattr(transfer, "MOST_BYTES", 500_000)
    talk(alice, *["x" * 250_000] * 80)
    tracemalloc.start()
    try:
        size = sum(len(part) for part in export(alice))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 80 * 250_000
    assert peak < size / 3


def test_what_is_deleted_while_it_is_read_is_left_out(alice, bob, monkeypatch):
    monkeypatch.setattr(transfer, "MOST_ROWS", 1)
    monkeypatch.setattr(transfer, "PART_BYTES", 1)
    kept, half, gone = (talk(alice, "Hi", "Hello!", title=title) for title in "ABC")
    parts = transfer.json_parts(alice, ids=[kept.id, half.id, gone.id])
    exported = b""
    while b'"title": "B"' not in exported:  # The last used is the first.
        exported += next(parts)
    reply = half.leaf
    messages.switch_to(say(half, "Hello again!", after=reply.parent))
    reply.delete()
    conversations.delete(alice, ids=[kept.id])
    copies = taken_in(bob, exported + b"".join(parts))
    assert [one.messages.count() for one in copies] == [2, 1]


def titles(exported: bytes) -> set[str]:
    return {one["title"] for one in orjson.loads(exported)["conversations"]}


def image(url: str) -> dict:
    return {"type": "image_url", "image_url": {"url": url}}


texts = st.text(
    st.sampled_from("#\\ \n\raU!<->[](){}é") | st.characters(exclude_categories=["Cs"]),
    min_size=1,
).map(lambda text: "x" + text + "x")
marks = st.sampled_from(["## User", "## Assistant ", "\\## System", markdown_file.NEXT, "# T"])
said = st.lists(texts | marks | st.tuples(marks, texts).map("\n".join), min_size=1, max_size=6)


@given(said)
def test_any_text_survives_markdown(said):
    roles = ["user", "assistant"] * 3
    one = Portable(title="Title", model="m", leaf=len(said) - 1)
    for index, text in enumerate(said):
        one.messages.append(PortableMessage(roles[index], text, index - 1 if index else None))
    parts = markdown_file.write([(one, one.messages)] * 2)
    (back, also) = markdown_file.read(b"".join(parts))
    assert [(said.role, said.text) for said in back.messages] == [
        (said.role, said.text) for said in one.messages
    ]
    assert (back.title, back.model, len(also.messages)) == ("Title", "m", len(said))


# --- From elsewhere ------------------------------------------------------------------------------


def test_a_list_of_messages_is_a_conversation(alice):
    said = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": "Hello!"},
    ]
    for document in (said, {"model": "other", "messages": said}):
        (copy,) = taken_in(alice, document)
        assert shown(copy) == [("user", "Hi"), ("assistant", "Hello!")]
    assert copy.model == "other"
    assert conversations.listed(alice)[0].title == "Hi"


def test_markdown_by_hand_is_a_conversation(alice):
    (copy,) = taken_in(
        alice, "# Tea\r\n\r\n## User\r\n\r\nTea?\r\n\r\n## Assistant\r\n\r\nYes.\r\n"
    )
    assert shown(copy) == [("user", "Tea?"), ("assistant", "Yes.")]
    assert conversations.listed(alice)[0].title == "Tea"


HI = {"role": "user", "content": "Hi"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no message"),
        (b"Just a text.", "no message"),
        (b"# Title\n\n## System\n\nBe kind.", "no message"),
        (b"\xff\xfe## User", "not UTF-8"),
        (b"## User\n\n", "Write something first"),
        (b"## Assistant\n\n![](data:image/png;base64,AAAA)", "an image outside of your messages"),
        (b'{"messages": [', "no JSON"),
        (b"[" * 5_000, "no JSON"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "no JSON"),
        ({}, "messages is no list"),
        ({"messages": []}, "no message"),
        ({"conversations": {}}, "conversations is no list"),
        ({"conversations": [1]}, r"conversations\[0\] is no object"),
        ({"version": 2, "conversations": []}, "Kyma reads only version 1 of this format"),
        ([1], r"messages\[0\] is no object"),
        ([{"role": "tool", "content": "x"}], r"messages\[0\].role"),
        ([{"role": ["user"], "content": "x"}], r"messages\[0\].role"),
        ([{"role": "user", "content": 5}], "content is no list"),
        ([{"role": "user", "content": [{"type": "file"}]}], r"content\[0\]"),
        ([{"role": "user", "content": ""}], "Write something first"),
        ([{"role": "user", "content": "x" * 1_000_001}], "at most"),
        ([{"role": "user", "content": [image("https://example.org/x.png")]}], "PNG"),
        ([{"role": "user", "content": [image("data:image/svg+xml;base64,AAAA")]}], "PNG"),
        ([{"role": "user", "content": [image("data:image/png;base64,?")]}], "damaged"),
        ([{"role": "assistant", "content": [image(PIXEL)]}], "has images"),
        ([HI | {"id": "a"}, HI | {"id": "a"}], "is the id of an earlier message too"),
        ([HI | {"id": "a", "parent": "a"}], "is not the id of an earlier message"),
        ([HI | {"parent": "b"}, HI | {"id": "b"}], "is not the id of an earlier message"),
        ([HI | {"parent": {}}], "is not the id of an earlier message"),
        ([HI | {"id": 7}], "id is no text"),
        ({"messages": [HI], "leaf": "z"}, "is not the id of an earlier message"),
        ({"messages": [HI], "title": 1}, "title is no text"),
        ({"messages": [HI], "parameters": {"temperature": "hot"}}, "temperature"),
        ({"messages": [HI], "parameters": {"tools": []}}, "no parameter"),
        ({"messages": [HI], "parameters": [1]}, "parameters is no object"),
        ({"messages": [HI] * 20_001}, "more than"),
        ({"conversations": [{"messages": [HI]}] * 1_001}, "more than"),
        (b" " * 20_000_001, "too large: at most 20 MB"),
    ],
)
def test_what_is_no_conversation_is_refused_with_its_reason(alice, content, why):
    with pytest.raises(ImportRefused, match=why):
        taken_in(alice, content)
    assert not Conversation.objects.exists()


def test_one_bad_conversation_keeps_all_out(alice):
    good, bad = {"messages": [HI]}, {"messages": [HI], "parameters": {"top_p": 2}}
    with pytest.raises(ImportRefused):
        taken_in(alice, {"conversations": [good, bad]})
    assert not Conversation.objects.exists()


def test_odd_names_and_times_do_no_harm(alice):
    odd = {"model": "a\x00b", "created_at": "9999-01-01T00:00:00Z", "title": "\x00 T\n"}
    (copy,) = taken_in(alice, {**odd, "messages": [HI | {"created_at": "2001-13-01T00:00"}]})
    assert copy.model == "scripted"
    assert copy.messages.get().created_at >= copy.created_at
