"""Kyma as the official `openai` package meets it, unmodified, over HTTP.

The real model of the local provider answers where a model has to understand something; the
scripted provider answers where every byte counts.
"""

import platform
import sys

import orjson
import pytest
from openai.lib.streaming.chat import ChunkEvent, ContentDeltaEvent
from pydantic import BaseModel

from tests.support.gateway.local_provider_process import MODEL
from tests.support.gateway.openai_clients import check_price, client_of, run_async, says, upstream
from tests.support.live import Customer, eventually
from tests.support.provider.scripts import (
    Done,
    End,
    Event,
    Head,
    answer,
    chunk,
    json_answer,
    stream,
    tool_call_answer,
    tool_call_stream,
    usage_chunk,
    usage_of,
)

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}
CALLS = [("weather", {"city": "Oslo", "days": 3}), ("weather", {"city": "Zürich ☀", "days": 1})]
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.fixture
def customer(committed, scripted, smollm, patient_gateway):
    return Customer(patient_gateway)


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


# The real model


@pytest.fixture
def capital(local_provider):
    """What a right answer holds; the fallback of machines without the wheel knows nothing."""
    return "Paris" if local_provider.health()["engine"] == "llama.cpp" else ""


def test_the_local_provider_runs_the_real_model_where_it_can(local_provider):
    has_wheel = (sys.platform, platform.machine()) == ("linux", "x86_64")
    assert local_provider.health()["engine"] == "llama.cpp" or not has_wheel


def test_a_real_model_answers(client, customer, capital):
    done = client.chat.completions.create(model=MODEL, messages=CAPITAL, temperature=0)
    (choice,) = done.choices
    assert capital in choice.message.content
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert (done.object, done.model) == ("chat.completion", MODEL)
    assert done.id.startswith("chatcmpl-")
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    check_price(customer, done.usage)


def test_a_real_model_streams(client, customer, capital):
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=CAPITAL,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *said, last = chunks
    assert capital in "".join(each.choices[0].delta.content or "" for each in said)
    assert said[0].choices[0].delta.role == "assistant"
    assert [each.choices[0].finish_reason for each in said[-2:]] == [None, "stop"]
    assert len({(each.id, each.created, each.model) for each in chunks}) == 1
    assert all(each.usage is None for each in said)
    assert last.choices == []
    check_price(customer, last.usage)


def test_the_stream_helper_gathers_what_a_real_model_says(client, customer, capital):
    with client.chat.completions.stream(
        model=MODEL, messages=CAPITAL, temperature=0, stream_options={"include_usage": True}
    ) as events:
        deltas = [each.delta for each in events if isinstance(each, ContentDeltaEvent)]
        done = events.get_final_completion()
    assert capital in done.choices[0].message.content
    assert "".join(deltas) == done.choices[0].message.content
    check_price(customer, done.usage)


def test_a_real_model_fills_in_a_pydantic_model(client, customer):
    question = "Name a city and the number of its inhabitants."
    done = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        response_format=City,
        temperature=0,
        max_tokens=100,
    )
    city = done.choices[0].message.parsed
    assert isinstance(city, City)
    assert city.name
    check_price(customer, done.usage)


def test_the_async_client_asks_and_streams(customer):
    async def story(client):
        done = await client.chat.completions.create(
            model=MODEL, messages=CAPITAL, temperature=0, max_tokens=8
        )
        chunks = await client.chat.completions.create(
            model=MODEL, messages=CAPITAL, temperature=0, max_tokens=8, stream=True
        )
        return done, [each async for each in chunks]

    done, chunks = run_async(customer, story)
    text = "".join(each.choices[0].delta.content or "" for each in chunks)
    assert text == done.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"
    asked = eventually(customer.requests, lambda rows: len(rows) == 2)
    assert [row.streamed for row in asked] == [False, True]
    assert len(customer.usage_entries()) == 2


# Tools


def ask_with_tools(client, token, **fields):
    return client.chat.completions.create(
        model="scripted", messages=says(token), tools=[WEATHER], **fields
    )


def check_calls(tool_calls) -> None:
    assert [call.type for call in tool_calls] == ["function", "function"]
    assert len({call.id for call in tool_calls}) == 2
    names = [call.function.name for call in tool_calls]
    assert names == [name for name, _ in CALLS]
    given = [orjson.loads(call.function.arguments) for call in tool_calls]
    assert given == [arguments for _, arguments in CALLS]


def test_tools_are_called_in_parallel_and_their_results_go_back(client, customer, fake):
    token = fake.script_attempts([tool_call_answer(CALLS), answer("Take an umbrella.")])
    choice = "auto"
    done = ask_with_tools(client, token, tool_choice=choice, parallel_tool_calls=True)
    message = done.choices[0].message
    assert (done.choices[0].finish_reason, message.content) == ("tool_calls", None)
    check_calls(message.tool_calls)
    check_price(customer, done.usage)

    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f'{{"sky": "{number} ☁"}}'}
        for number, call in enumerate(message.tool_calls)
    ]
    followed = client.chat.completions.create(
        model="scripted", messages=[*says(token), message, *results], tools=[WEATHER]
    )
    assert followed.choices[0].message.content == "Take an umbrella."
    first, second = [call.json for call in fake.calls(token)]
    assert (first["tools"], first["tool_choice"]) == ([WEATHER], choice)
    assert first["parallel_tool_calls"] is True
    sent = message.model_dump(exclude_unset=True)
    assert second["messages"] == [*says(token), sent, *results]


def test_tool_calls_stream_in_fragments(client, customer, fake):
    token = fake.script(tool_call_stream(CALLS, fragment=3))
    chunks = list(ask_with_tools(client, token, stream=True))
    fragments = [call for each in chunks for call in each.choices[0].delta.tool_calls or ()]
    openings = [each for each in fragments if each.id]
    assert [each.index for each in openings] == [0, 1]
    assert [each.function.name for each in openings] == ["weather", "weather"]
    assert len(fragments) > 10
    for index, (_, arguments) in enumerate(CALLS):
        parts = [each.function.arguments for each in fragments if each.index == index]
        assert orjson.loads("".join(parts)) == arguments
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_stream_helper_puts_tool_calls_together(client, customer, fake):
    token = fake.script(tool_call_stream(CALLS, fragment=3))
    with client.chat.completions.stream(
        model="scripted",
        messages=says(token),
        tools=[WEATHER],
        stream_options={"include_usage": True},
    ) as events:
        done = events.get_final_completion()
    check_calls(done.choices[0].message.tool_calls)
    check_price(customer, done.usage)


# What is carried through, in both directions


def test_images_go_up_as_they_were_sent(client, customer, fake, hosted):
    token = fake.script(answer("A cat."))
    parts = [
        {"type": "text", "text": f"What is this? {token}"},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]
    done = client.chat.completions.create(
        model=hosted, messages=[{"role": "user", "content": parts}]
    )
    assert done.choices[0].message.content == "A cat."
    assert upstream(fake, token)["messages"] == [{"role": "user", "content": parts}]
    assert customer.settled_request().images == 2
    check_price(customer, done.usage)


@pytest.mark.parametrize(
    ("field", "thought"),
    [
        ("reasoning", "Six times seven."),
        ("reasoning_content", "Six times seven."),
        ("reasoning_details", [{"type": "reasoning.text", "text": "Six times seven.", "index": 0}]),
    ],
)
def test_reasoning_comes_down_and_goes_back_up(client, customer, fake, field, thought):
    said = {"role": "assistant", "content": "42", field: thought}
    usage = usage_of(10, 9) | {"completion_tokens_details": {"reasoning_tokens": 6}}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    token = fake.script(json_answer({"choices": [choice], "usage": usage}))
    done = client.chat.completions.create(
        model="scripted", messages=says(token), reasoning_effort="low"
    )
    message = done.choices[0].message
    assert getattr(message, field) == thought
    assert done.usage.completion_tokens_details.reasoning_tokens == 6
    check_price(customer, done.usage)
    assert upstream(fake, token)["reasoning_effort"] == "low"

    client.chat.completions.create(
        model="scripted", messages=[said, *says(token)], extra_body={"reasoning": {"effort": "low"}}
    )
    second = fake.calls(token)[1].json
    assert second["messages"][0] == said
    assert second["reasoning"] == {"effort": "low"}


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_streams(client, customer, fake, field):
    steps = [Event(chunk({field: "Six times "})), Event(chunk({field: "seven."}))]
    steps += [Event(chunk({"content": "42"}, finish_reason="stop"))]
    steps += [Event(usage_chunk(usage_of(10, 9)))]
    token = fake.script([Head(), *steps, Done(), End()])
    chunks = list(
        client.chat.completions.create(model="scripted", messages=says(token), stream=True)
    )
    deltas = [each.choices[0].delta for each in chunks]
    assert [getattr(delta, field, None) for delta in deltas] == ["Six times ", "seven.", None]
    assert deltas[-1].content == "42"
    assert customer.settled_request().completion_tokens == 9


PARAMETERS = {
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "stop": ["END", "\n\n"],
    "seed": -7,
    "temperature": 0.5,
    "top_p": 0.9,
    "frequency_penalty": -0.25,
    "presence_penalty": 1.5,
    "logit_bias": {"50256": -100},
    "max_tokens": 33,
}
OPEN_MODELS_ONLY = {"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1}


def test_parameters_go_up_as_they_were_sent_and_nothing_else_does(client, customer, fake):
    token = fake.script(answer("x"))
    client.chat.completions.create(
        model="scripted",
        messages=says(token),
        user="alice@example.org",
        metadata={"person": "alice"},
        extra_body=OPEN_MODELS_ONLY | {"provider": {"sort": "price"}, "no_such_parameter": 1},
        extra_headers={"X-Secret": "of the client"},
        **PARAMETERS,
    )
    told = {"model": "up/scripted", "messages": says(token), "stream": False}
    assert upstream(fake, token) == told | PARAMETERS | OPEN_MODELS_ONLY
    assert "x-secret" not in fake.calls(token)[0].headers


def test_several_answers_and_their_logprobs_come_down(client, customer, fake):
    tokens = [{"token": "x", "bytes": [120], "logprob": -0.25, "top_logprobs": []}]
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": tokens},
            "finish_reason": reason,
        }
        for index, (text, reason) in enumerate([("one", "stop"), ("two", "length")])
    ]
    token = fake.script(json_answer({"choices": choices, "usage": usage_of(10, 6)}))
    done = client.chat.completions.create(
        model="scripted", messages=says(token), n=2, logprobs=True
    )
    assert [each.message.content for each in done.choices] == ["one", "two"]
    assert [each.finish_reason for each in done.choices] == ["stop", "length"]
    assert done.choices[1].logprobs.content[0].logprob == -0.25
    check_price(customer, done.usage)


def test_several_answers_stream_side_by_side(client, customer, fake):
    tokens = [{"token": "x", "bytes": [120], "logprob": -0.25, "top_logprobs": []}]
    said = [(0, "one "), (1, "two "), (1, "too"), (0, "once")]
    steps = []
    for index, text in said:
        piece = chunk({"content": text}, finish_reason=None if text.endswith(" ") else "stop")
        piece["choices"][0] |= {"index": index, "logprobs": {"content": tokens}}
        steps.append(Event(piece))
    usage = Event(usage_chunk(usage_of(10, 4)))
    token = fake.script([Head(), *steps, usage, Done(), End()])
    with client.chat.completions.create(
        model="scripted",
        messages=says(token),
        n=2,
        logprobs=True,
        stream=True,
        stream_options={"include_usage": True},
    ) as chunks:
        *pieces, last = list(chunks)
    choices = [each.choices[0] for each in pieces]
    assert [(each.index, each.delta.content) for each in choices] == said
    assert [each.finish_reason for each in choices] == [None, None, "stop", "stop"]
    assert {each.logprobs.content[0].logprob for each in choices} == {-0.25}
    assert upstream(fake, token)["n"] == 2
    check_price(customer, last.usage)


@pytest.mark.parametrize("asked", [True, False])
def test_usage_comes_at_the_end_of_a_stream_only_if_asked_for(client, customer, fake, asked):
    token = fake.script(stream("Hello there"))
    options = {"stream_options": {"include_usage": True}} if asked else {}
    with client.chat.completions.create(
        model="scripted", messages=says(token), stream=True, **options
    ) as chunks:
        usages = [each.usage for each in chunks]
    assert [usage is not None for usage in usages] == [False] * 4 + [True] * asked
    assert upstream(fake, token)["stream_options"] == {"include_usage": True}
    assert customer.settled_request().cost_nano == 10 * 100 + 2 * 400
    if asked:
        check_price(customer, usages[-1])


def test_the_stream_helper_shows_each_chunk(client, customer, fake):
    token = fake.script(stream("Hello there"))
    with client.chat.completions.stream(model="scripted", messages=says(token)) as events:
        chunks = [each.chunk for each in events if isinstance(each, ChunkEvent)]
        done = events.get_final_completion()
    assert done.choices[0].message.content == "Hello there"
    assert {each.id for each in chunks} == {done.id}
    assert customer.settled_request().id.hex == done.id.removeprefix("chatcmpl-")
