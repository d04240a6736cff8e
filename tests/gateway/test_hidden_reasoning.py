"""What a model thinks: told apart from its answer however it comes, and not to who excludes it."""

import pytest

from tests.gateway.receipts import INPUT, OUTPUT, both, events_of
from tests.provider_scripts import (
    Done,
    End,
    Event,
    Head,
    chunk,
    completion,
    either,
    json_answer,
    usage_chunk,
    usage_of,
)

USAGE = usage_of(10, 8)
THOUGHT = "Hm, a secret."


def scripted(fake, message: dict, deltas: list[dict]) -> str:
    """A provider that says `message` whole, and in `deltas` if it shall stream."""
    chunks = [*map(chunk, deltas), chunk({}, finish_reason="stop"), usage_chunk(USAGE)]
    return fake.script(
        either(
            [Head(), *map(Event, chunks), Done(), End()],
            json_answer(completion(message, USAGE, "stop", "fake-model")),
        )
    )


@pytest.fixture
def thinking(fake) -> str:
    said = {"role": "assistant", "reasoning": THOUGHT, "content": "Hi"}
    deltas = [{"role": "assistant", "reasoning_content": THOUGHT}, {"content": "Hi"}]
    return scripted(fake, said, deltas)


@both
@pytest.mark.parametrize(
    ("path", "wish", "other"),
    [
        ("/v1/chat/completions", {"reasoning": {"exclude": True}}, {"reasoning": {}}),
        (
            "/v1/messages",
            {"max_tokens": 50, "thinking": {"type": "adaptive", "display": "omitted"}},
            {"max_tokens": 50},
        ),
    ],
)
def test_what_a_model_thinks_is_billed_and_not_told_to_who_excludes_it(
    customer, thinking, streamed, path, wish, other
):
    messages = [{"role": "user", "content": thinking}]
    body = {"model": "scripted", "messages": messages, "stream": streamed}
    response = customer.post(body | wish, path=path)
    assert response.status_code == 200
    assert '"Hi"' in response.text
    assert THOUGHT not in response.text
    row = customer.settled_request()
    assert row.cost_nano == 10 * INPUT + 8 * OUTPUT
    assert THOUGHT.encode() not in customer.content(row.id)
    assert THOUGHT in customer.post(body | other, path=path).text


PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
    {"type": "text", "text": "Hi"},
]


@pytest.fixture
def in_parts(fake) -> str:
    """As Mistral answers: content is a list, and what was thought stands in it."""
    deltas = [{"role": "assistant", "content": ""}, *({"content": [part]} for part in PARTS)]
    return scripted(fake, {"role": "assistant", "content": PARTS}, deltas)


@both
@pytest.mark.parametrize("excluded", [False, True])
def test_content_in_parts_comes_as_text(customer, in_parts, streamed, excluded):
    wish = {"reasoning": {"exclude": True}} if excluded else {}
    response = customer.ask(in_parts, stream=streamed, **wish)
    said = list(events_of(response))[:-1] if streamed else [response.json()]
    messages = [
        choice.get("delta") or choice.get("message") or {}
        for one in said
        for choice in one["choices"]
    ]
    assert "".join(one.get("content") or "" for one in messages) == "Hi"
    told = "".join(one.get("reasoning") or "" for one in messages)
    assert told == ("" if excluded else THOUGHT)
