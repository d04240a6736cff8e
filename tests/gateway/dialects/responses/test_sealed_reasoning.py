"""What a model thought, told as a summary or sealed, and what becomes of it when it comes back."""

import base64

import openai
import pytest

from accounts.encryption import Cipher, new_key
from gateway.dialects.responses.request import chat_body
from gateway.dialects.responses.seal import Seal
from tests.support.gateway.openai_clients import client_of
from tests.support.gateway.receipts import END, STOP
from tests.support.gateway.responses_bodies import (
    AGENT,
    FRANK,
    USER,
    body_with,
    check_items,
    names_of,
    read_by_the_package,
    stream_of,
    whole,
)
from tests.support.live import Customer
from tests.support.provider.scripts import (
    Event,
    Head,
    chunk,
    either,
    json_answer,
    usage_chunk,
    usage_of,
)

SEAL = Seal(Cipher(new_key()))
OTHER = Seal(Cipher(new_key()))
THOUGHT = "Six times sieben. ☀"
SAID = {"reasoning_content": THOUGHT, "content": "42"}
INCLUDE = ["reasoning.encrypted_content"]


def thought_in(*items: dict, seal: Seal = SEAL) -> str | None:
    """What the model is told that it thought before it said "42"."""
    (_, answer) = chat_body(body_with(input=[USER, *items]), seal)["messages"]
    assert answer["content"] == "42"
    return answer.get("reasoning_content")


def sealed_item(**fields) -> dict:
    return {"type": "reasoning", "id": "rs_1", "summary": [], **fields}


ANSWER = {"role": "assistant", "content": "42"}


def test_a_seal_is_one_persons():
    sealed = SEAL.close(THOUGHT)
    assert THOUGHT.encode() not in base64.b64decode(sealed)
    assert SEAL.open(sealed) == THOUGHT
    assert OTHER.open(sealed) == ""


@pytest.mark.parametrize(
    "sealed", ["", "a", "☀", "gAAAAABm", base64.b64encode(b"x" * 40).decode(), SEAL.close("a")[:-4]]
)
def test_what_is_not_kymas_is_ignored(sealed):
    assert SEAL.open(sealed) == ""
    assert thought_in(sealed_item(encrypted_content=sealed), ANSWER) is None
    summary = [{"type": "summary_text", "text": "In short."}]
    item = sealed_item(encrypted_content=sealed, summary=summary)
    assert thought_in(item, ANSWER) == "In short."


@pytest.mark.parametrize("request_body", [AGENT, FRANK], ids=["summary", "as it is"])
def test_an_answer_brings_back_what_was_thought(request_body):
    output = whole(SAID, request=request_body, seal=SEAL)["output"]
    assert thought_in(*output) == THOUGHT
    # As clients send it back that keep the seal alone.
    assert thought_in(sealed_item(encrypted_content=output[0]["encrypted_content"]), ANSWER) == (
        THOUGHT
    )
    assert thought_in(*output, seal=OTHER) == THOUGHT  # By what is readable of it.


@pytest.mark.parametrize(
    ("fields", "is_sealed"),
    [
        ({}, False),
        ({"include": []}, False),
        ({"include": INCLUDE}, True),
        ({"store": False}, True),
        ({"store": None}, False),
    ],
)
def test_reasoning_is_sealed_for_who_will_bring_it_back(fields, is_sealed):
    (thought, _) = whole(SAID, request=body_with(**fields), seal=SEAL)["output"]
    assert ("encrypted_content" in thought) is is_sealed


def test_a_stream_seals_an_item_once_it_is_whole():
    events = stream_of({"reasoning": "Six "}, {"reasoning": "times"}, {"content": "a"}, seal=SEAL)
    added, done = (
        next(one["item"] for one in events if one["type"] == f"response.output_item.{name}")
        for name in ("added", "done")
    )
    assert "encrypted_content" not in added
    assert SEAL.open(done["encrypted_content"]) == "Six times"
    check_items(events)
    assert read_by_the_package(events).output[0].encrypted_content == done["encrypted_content"]


def test_a_summary_has_events_of_its_own():
    events = stream_of({"reasoning": "H"}, {"reasoning": "m."}, {"content": "Hi"}, request=AGENT)
    assert names_of(events)[2:9] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    thought = events[8]["item"]
    assert thought["summary"] == [{"type": "summary_text", "text": "Hm."}]
    assert thought["content"] == []
    check_items(events)


@pytest.fixture
def customer(committed, scripted, patient_gateway):
    return Customer(patient_gateway)


def test_a_person_gets_it_back_over_http(customer, fake):
    usage = usage_of(10, 9)
    steps = [Event(chunk({"reasoning_content": THOUGHT})), Event(chunk({"content": "42"})), STOP]
    choice = {"index": 0, "message": {"role": "assistant", **SAID}, "finish_reason": "stop"}
    token = fake.script(
        either(
            [Head(), *steps, Event(usage_chunk(usage)), *END],
            json_answer({"choices": [choice], "usage": usage}),
        )
    )
    with client_of(customer) as client:
        for is_streamed in (False, True):
            thought, answer = output_of(client, token, is_streamed)
            assert [part.text for part in thought.summary] == [THOUGHT]
            items = [sealed_item(encrypted_content=thought.encrypted_content), answer]
            client.responses.create(
                model="scripted", input=[USER, *items, {"role": "user", "content": token}]
            )
            sent = fake.calls(token)[-1].json["messages"][1]
            assert (sent["content"], sent["reasoning_content"]) == ("42", THOUGHT)


def output_of(client: openai.OpenAI, token: str, is_streamed: bool) -> list:
    asked = {"model": "scripted", "input": token, "include": INCLUDE}
    asked["reasoning"] = {"summary": "auto"}
    if not is_streamed:
        return client.responses.create(**asked).output
    with client.responses.stream(**asked) as events:
        return events.get_final_response().output
