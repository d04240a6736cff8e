"""Kyma as the official `anthropic` package meets it, unmodified, over HTTP: what it answers.

The real model of the local provider answers once; else the scripted provider does. Refusals and
streams that break off are told in `test_anthropic_package_errors`.
"""

import asyncio

import anthropic
import orjson
import pytest

from tests.support.gateway.anthropic_clients import asked, check_price, client_of
from tests.support.gateway.local_provider_process import MODEL
from tests.support.gateway.openai_clients import upstream
from tests.support.gateway.receipts import (
    CACHED,
    END,
    HELLO,
    INPUT,
    OUTPUT,
    STOP,
    WORLD,
    billed,
    estimate,
)
from tests.support.live import KEPT_ALIVE, Customer, eventually
from tests.support.provider.scripts import (
    Event,
    Head,
    WaitFor,
    answer,
    chunk,
    either,
    stream,
    tool_call_answer,
    tool_call_stream,
    usage_of,
)

WEATHER = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    },
}
CHAT_WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": WEATHER["input_schema"],
    },
}
CALLS = [("weather", {"city": "Oslo", "days": 3}), ("weather", {"city": "Zürich ☀", "days": 1})]
PIXEL = "iVBORw0KGgo="
PING = 'data: {"type":"ping"}'


@pytest.fixture
def customer(committed, scripted, patient_gateway):
    return Customer(patient_gateway)


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


def types_of(events) -> list[str]:
    return [each.type for each in events]


# Text


def test_a_real_model_answers_whole_and_streamed(client, customer, smollm, local_provider):
    fields = asked("What is the capital of France?", model=MODEL, extra_body={"temperature": 0})
    done = client.messages.create(**fields)
    (block,) = done.content
    knows = local_provider.health()["engine"] == "llama.cpp"
    assert ("Paris" if knows else "") in block.text
    assert (done.type, done.role, done.model) == ("message", "assistant", MODEL)
    assert done.stop_reason == "end_turn"
    check_price(customer, done)
    with client.messages.stream(**fields) as events:
        assert events.get_final_text() == block.text


def test_a_message_is_answered(client, customer, fake):
    token = fake.script(answer("Hello there."))
    done = client.messages.create(
        system="Be kind.",
        stop_sequences=["END"],
        metadata={"user_id": "alice"},
        extra_body={"top_k": 40, "temperature": 0.5, "no_such_parameter": 1},
        **asked(token),
    )
    assert [block.text for block in done.content] == ["Hello there."]
    row = check_price(customer, done)
    assert (row.streamed, row.status, row.outcome) == (False, 200, "finished")
    assert upstream(fake, token) == {
        "model": "up/scripted",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": token},
        ],
        "stream": False,
        "max_tokens": 100,
        "stop": ["END"],
        "top_k": 40,
        "temperature": 0.5,
    }


def test_the_beta_client_is_answered_the_same(client, customer, fake):
    token = fake.script(answer("Hello."))
    done = client.beta.messages.create(**asked(token, betas=["some-beta-2026-01-01"]))
    assert done.content[0].text == "Hello."
    check_price(customer, done)


def test_the_key_may_come_as_a_bearer_token(customer, fake):
    token = fake.script(answer("Hello."))
    with client_of(customer, api_key=None, auth_token=customer.key_text) as client:
        done = client.messages.create(**asked(token))
    check_price(customer, done)


def test_the_async_client_asks_and_streams(customer, fake):
    token = fake.script(either(stream("Hello there"), answer("Hello there")))

    async def story():
        async with anthropic.AsyncAnthropic(
            base_url=customer.gateway.url, api_key=customer.key_text, max_retries=0
        ) as client:
            done = await client.messages.create(**asked(token))
            async with client.messages.stream(**asked(token)) as events:
                return done.content[0].text, await events.get_final_text()

    assert asyncio.run(story()) == ("Hello there", "Hello there")
    rows = eventually(customer.requests, lambda rows: len(rows) == 2)
    assert [(row.api, row.streamed) for row in rows] == [("messages", False), ("messages", True)]


def test_text_streams_in_the_order_that_the_package_expects(client, customer, fake):
    token = fake.script(stream("Hello there"))
    events = list(client.messages.create(**asked(token, stream=True)))
    assert types_of(events) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    start, end = events[0].message, events[-2]
    assert (start.content, start.model, start.usage.output_tokens) == ([], "scripted", 0)
    assert [each.delta.text for each in events[2:4]] == ["Hello ", "there"]
    assert end.delta.stop_reason == "end_turn"
    start.usage = end.usage
    row = check_price(customer, start)
    assert row.streamed
    assert row.cost_nano == 10 * INPUT + 2 * OUTPUT
    assert upstream(fake, token)["stream_options"] == {"include_usage": True}


def test_the_stream_helper_gathers_the_message(client, customer, fake):
    token = fake.script(stream("Hello there"))
    with client.messages.stream(**asked(token)) as events:
        assert list(events.text_stream) == ["Hello ", "there"]
        done = events.get_final_message()
    assert done.content[0].text == "Hello there"
    assert done.stop_reason == "end_turn"
    assert (done.usage.input_tokens, done.usage.output_tokens) == (10, 2)
    assert customer.settled_request().id.hex == done.id.removeprefix("msg_")


@pytest.mark.parametrize(
    ("finish_reason", "stop_reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("stop_sequence", "stop_sequence"),
    ],
)
def test_the_stop_reason_is_anthropics(client, fake, finish_reason, stop_reason):
    reason = {"finish_reason": finish_reason}
    token = fake.script(either(stream("Hel", **reason), answer("Hel", **reason)))
    assert client.messages.create(**asked(token)).stop_reason == stop_reason
    with client.messages.stream(**asked(token)) as events:
        assert events.get_final_message().stop_reason == stop_reason


# Tools


def check_calls(message) -> None:
    assert message.stop_reason == "tool_use"
    assert types_of(message.content) == ["tool_use", "tool_use"]
    assert [block.name for block in message.content] == [name for name, _ in CALLS]
    assert [block.input for block in message.content] == [given for _, given in CALLS]
    assert len({block.id for block in message.content}) == 2


def test_tools_are_called_in_parallel_and_their_results_go_back(client, customer, fake):
    token = fake.script_attempts([tool_call_answer(CALLS), answer("Take an umbrella.")])
    question = asked(token, tools=[WEATHER], tool_choice={"type": "any"})
    message = client.messages.create(**question)
    check_calls(message)
    check_price(customer, message)

    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": f"sky {number} ☁"}
        for number, block in enumerate(message.content)
    ]
    results[1]["is_error"] = True
    turns = [
        *question["messages"],
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": results},
    ]
    followed = client.messages.create(**asked(token, tools=[WEATHER]) | {"messages": turns})
    assert followed.content[0].text == "Take an umbrella."
    first, second = [call.json for call in fake.calls(token)]
    assert (first["tools"], first["tool_choice"]) == ([CHAT_WEATHER], "required")
    user, said, *replies = second["messages"]
    assert user == {"role": "user", "content": token}
    assert (said["role"], said["content"]) == ("assistant", None)
    given = [orjson.loads(call["function"]["arguments"]) for call in said["tool_calls"]]
    assert given == [arguments for _, arguments in CALLS]
    assert replies == [
        {"role": "tool", "tool_call_id": message.content[0].id, "content": "sky 0 ☁"},
        {"role": "tool", "tool_call_id": message.content[1].id, "content": "Error: sky 1 ☁"},
    ]


def test_tool_calls_stream_one_block_after_the_other(client, customer, fake):
    token = fake.script(tool_call_stream(CALLS, fragment=3))
    with client.messages.stream(**asked(token, tools=[WEATHER])) as events:
        seen = [each for each in events if each.type.startswith("content_block")]
        message = events.get_final_message()
    check_calls(message)
    indexes = [each.index for each in seen]
    assert indexes == sorted(indexes)
    marks = [(each.type, each.index) for each in seen if each.type != "content_block_delta"]
    start, stop = "content_block_start", "content_block_stop"
    assert marks == [(start, 0), (stop, 0), (start, 1), (stop, 1)]
    assert len(seen) > 10
    assert customer.settled_request().cost_nano == 10 * INPUT + 5 * OUTPUT


# What is carried through


def test_images_go_up_as_data_urls(client, customer, fake, hosted):
    token = fake.script(answer("A cat."))
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    done = client.messages.create(
        **asked(
            [
                {"type": "image", "source": source},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/cat.png"}},
                {"type": "text", "text": token},
            ],
            model=hosted,
        )
    )
    assert upstream(fake, token)["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
        {"type": "text", "text": token},
    ]
    assert check_price(customer, done).images == 2


@pytest.mark.parametrize("streamed", [True, False])
def test_what_came_from_the_cache_is_no_input(client, customer, fake, streamed):
    usage = usage_of(10, 5, cached_tokens=4)
    token = fake.script(either(stream("Hi", usage=usage), answer("Hi", extra={"usage": usage})))
    if streamed:
        events = list(client.messages.create(**asked(token, stream=True)))
        done = events[0].message
        done.usage = events[-2].usage
    else:
        done = client.messages.create(**asked(token))
    used = (done.usage.input_tokens, done.usage.cache_read_input_tokens, done.usage.output_tokens)
    assert used == (6, 4, 5)
    assert check_price(customer, done).cost_nano == 6 * INPUT + 4 * CACHED + 5 * OUTPUT


def test_tokens_are_counted_without_charge(client, customer, fake):
    few = client.messages.count_tokens(
        model="scripted", messages=[{"role": "user", "content": "Hello"}]
    )
    many = client.messages.count_tokens(
        model="scripted",
        system="Be kind.",
        messages=[{"role": "user", "content": "Hello " * 400}],
        tools=[WEATHER],
    )
    assert 0 < few.input_tokens < 20
    assert 600 < many.input_tokens < 900
    rows = eventually(customer.requests, lambda rows: len(rows) == 2)
    assert [(row.api, row.status) for row in rows] == [("count_tokens", 200)] * 2
    assert customer.usage_entries() == []
    assert customer.holds() == []


# Around the answer


def test_the_request_id_and_the_headers_lead_to_the_row(client, customer, fake):
    raw = client.messages.with_raw_response.create(**asked(fake.script(answer("Hello."))))
    done = raw.parse()
    row = customer.settled_request()
    assert raw.headers["request-id"] == raw.headers["x-request-id"] == str(row.id)
    assert done._request_id == str(row.id)
    assert raw.headers["x-generation-id"] == done.id == f"msg_{row.id.hex}"
    assert float(raw.headers["x-kyma-cost"]) == done.usage.cost


def test_the_receipt_is_found_by_the_id_of_the_message(client, customer, fake):
    done = client.messages.create(**asked(fake.script(answer("Hello."))))
    row = customer.settled_request()
    for asked_id in (done.id, str(row.id)):
        receipt = customer.get(f"/v1/generation?id={asked_id}").json()["data"]
        assert (receipt["id"], receipt["api_type"]) == (done.id, "messages")
        assert receipt["request_id"] == str(row.id)
        assert receipt["total_cost"] == done.usage.cost


def test_what_was_said_is_kept_sealed(client, customer, fake):
    token = fake.script(either(stream("Hello there"), answer("Hello there")))
    client.messages.create(**asked(token))
    with client.messages.stream(**asked(token)) as events:
        events.until_done()
    whole, streamed = eventually(customer.requests, lambda rows: len(rows) == 2)
    kept = orjson.loads(customer.content(whole.id))
    assert kept["request"] == asked(token)
    assert kept["answer"][0]["message"]["content"] == "Hello there"
    kept = orjson.loads(customer.content(streamed.id))
    assert kept["request"] == asked(token, stream=True)
    assert kept["answer"] == [{"content": "Hello there"}]


@pytest.mark.gateway_with(**KEPT_ALIVE)
def test_a_silent_stream_is_kept_alive_by_pings(client, customer, fake):
    token = fake.script([Head(), HELLO, WaitFor("the pings"), WORLD, STOP, *END])
    with client.messages.with_streaming_response.create(**asked(token, stream=True)) as raw:
        lines = raw.iter_lines()
        assert PING in lines
        assert PING in lines
        fake.go(token, "the pings")
        assert 'data: {"type":"message_stop"}' in lines
    assert customer.settled_request().outcome == "finished"


def test_who_hangs_up_pays_for_what_was_delivered(client, customer, fake):
    token = fake.script([Head(), HELLO, WaitFor("the hang-up"), WORLD, STOP, *END])
    with client.messages.stream(**asked(token)) as events:
        assert next(iter(events.text_stream)) == "Hello "
    fake.wait_for_hang_up(token)
    prompt_tokens, completion_tokens = estimate(token, 6)
    billed(
        customer,
        prompt_tokens * INPUT + completion_tokens * OUTPUT,
        api="messages",
        outcome="client-gone",
        status=200,
        estimated=True,
        completion_tokens=completion_tokens,
    )


@pytest.mark.gateway_with(**KEPT_ALIVE)
def test_arguments_that_wait_for_their_turn_are_not_paid(client, customer, fake):
    def fragment(index: int, arguments: str) -> Event:
        function = {"name": "weather", "arguments": arguments}
        call = {"index": index, "id": f"c{index}", "type": "function", "function": function}
        return Event(chunk({"tool_calls": [call]}))

    waiting = fragment(1, '{"city": "' + "x" * 400)
    steps = [fragment(0, '{"city": '), waiting, fragment(0, '"Oslo", '), fragment(0, '"days": ')]
    token = fake.script([Head(), *steps, WaitFor("hang-up"), *END])
    question = asked(token, stream=True, tools=[WEATHER])
    with client.messages.with_streaming_response.create(**question) as raw:
        lines = raw.iter_lines()
        assert any("days" in line for line in lines)
        assert PING in lines
    fake.wait_for_hang_up(token)
    row = customer.settled_request()
    assert row.outcome == "client-gone"
    assert 0 < row.completion_tokens < 20
