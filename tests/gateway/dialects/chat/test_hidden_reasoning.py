"""What a model thinks: told apart from its answer however it comes, and not to who excludes it."""

from collections.abc import Callable

import pytest

from gateway.log.transcript import transcript_of
from tests.support.gateway.receipts import INPUT, OUTPUT, both, events_of
from tests.support.provider.scripts import (
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
            {"max_tokens": 50, "thinking": {"type": "adaptive"}},
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
    said = said_in(customer.ask(in_parts, stream=streamed, **wish), streamed)
    assert said("content") == "Hi"
    assert said("reasoning") == ("" if excluded else THOUGHT)
    (logged,) = transcript_of(customer.content(customer.settled_request().id)).answers
    assert (logged.text, logged.reasoning) == ("Hi", "" if excluded else THOUGHT)


# Under which name


def said_in(response, streamed: bool) -> Callable[[str], str]:
    """What an answer said, by the name of the member that said it."""
    assert response.status_code == 200, response.text
    answers = list(events_of(response))[:-1] if streamed else [response.json()]
    choices = [choice for one in answers for choice in one["choices"]]
    messages = [one.get("delta") or one.get("message") or {} for one in choices]
    return lambda name: "".join(one.get(name) or "" for one in messages)


@both
@pytest.mark.parametrize(
    ("named", "own_name"),
    [
        ({"reasoning": THOUGHT}, ""),
        ({"reasoning_content": THOUGHT}, THOUGHT),
        ({"reasoning": THOUGHT, "reasoning_content": THOUGHT}, THOUGHT),
        ({"reasoning": None, "reasoning_content": THOUGHT, "content": ""}, THOUGHT),
    ],
    ids=["reasoning", "reasoning_content", "both", "one of them empty"],
)
def test_what_a_model_thinks_is_its_reasoning_whatever_its_provider_calls_it(
    customer, fake, streamed, named, own_name
):
    prompt = scripted(fake, {**named, "content": "Hi"}, [named, {"content": "Hi"}])
    said = said_in(customer.ask(prompt, stream=streamed), streamed)
    assert (said("content"), said("reasoning")) == ("Hi", THOUGHT)
    assert said("reasoning_content") == own_name
    assert customer.settled_request().cost_nano == 10 * INPUT + 8 * OUTPUT


@both
def test_the_last_of_a_thought_may_come_with_the_first_of_the_answer(customer, fake, streamed):
    deltas = [{"reasoning_content": "Hm, "}, {"reasoning_content": "a secret.", "content": "Hi"}]
    whole = {"reasoning_content": THOUGHT, "content": "Hi"}
    said = said_in(customer.ask(scripted(fake, whole, deltas), stream=streamed), streamed)
    assert (said("content"), said("reasoning")) == ("Hi", THOUGHT)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]}, THOUGHT),
        (
            {
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "Hm, "},
                    {"type": "reasoning.encrypted", "data": "xyz"},
                    {"type": "reasoning.text", "text": "a secret."},
                ]
            },
            THOUGHT,
        ),
        ({"reasoning": THOUGHT, "reasoning_details": [{"text": "in other words"}]}, THOUGHT),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz"}, 7]}, ""),
        ({"reasoning_details": "xyz"}, ""),
    ],
)
def test_a_whole_answer_has_its_reasoning_from_its_details(customer, fake, named, told):
    prompt = scripted(fake, {**named, "content": "Hi"}, [])
    response = customer.ask(prompt)
    assert said_in(response, streamed=False)("reasoning") == told
    message = response.json()["choices"][0]["message"]
    assert message["reasoning_details"] == named["reasoning_details"]


def test_a_thought_that_was_told_twice_is_counted_once(customer, fake):
    steps = [Event(chunk({"reasoning_content": 8 * "x"})), Event(chunk({}, finish_reason="stop"))]
    prompt = fake.script([Head(), *steps, Done(), End()])
    said = said_in(customer.ask(prompt, stream=True), streamed=True)
    assert said("reasoning") == said("reasoning_content") == 8 * "x"
    row = customer.settled_request()
    assert (row.completion_tokens, row.estimated) == (2, True)
    assert customer.content(row.id).count(8 * b"x") == 1
