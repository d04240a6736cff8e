"""Kyma's Responses API as the official `openai` package meets it, unmodified, over HTTP.

The real model of the local provider answers where a model has to understand something; the
scripted provider answers where every byte counts. Refusals and streams that break off are told in
`test_responses_package_errors`.
"""

import orjson
import pytest
from openai.types.responses import Response
from pydantic import BaseModel

from tests.support.gateway.local_provider_process import MODEL
from tests.support.gateway.openai_clients import client_of, run_async, upstream
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
from tests.support.gateway.responses_bodies import names_of
from tests.support.gateway.responses_clients import ask, check_price, events_of
from tests.support.live import KEPT_ALIVE, Customer, eventually
from tests.support.provider.scripts import (
    Event,
    Head,
    WaitFor,
    answer,
    chunk,
    either,
    json_answer,
    stream,
    tool_call_answer,
    tool_call_stream,
    usage_chunk,
    usage_of,
)

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
CALLS = [("weather", {"city": "Oslo", "days": 3}), ("weather", {"city": "Zürich ☀", "days": 1})]
PIXEL = "data:image/png;base64,iVBORw0KGgo="


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.fixture
def customer(committed, scripted, patient_gateway):
    return Customer(patient_gateway)


@pytest.fixture
def client(customer):
    with client_of(customer) as client:
        yield client


# The real model


def test_a_real_model_answers(client, customer, smollm, local_provider):
    done = client.responses.create(
        model=MODEL, input="What is the capital of France?", temperature=0
    )
    knows = local_provider.health()["engine"] == "llama.cpp"
    assert ("Paris" if knows else "") in done.output_text
    assert (done.status, done.model, done.object) == ("completed", MODEL, "response")
    check_price(customer, done)


def test_a_real_model_fills_in_a_pydantic_model(client, customer, smollm):
    done = client.responses.parse(
        model=MODEL,
        input="Name a city and the number of its inhabitants.",
        text_format=City,
        temperature=0,
        max_output_tokens=100,
    )
    assert isinstance(done.output_parsed, City)
    assert done.output_parsed.name
    check_price(customer, done)


# Text


def test_a_response_is_answered(client, customer, fake):
    token = fake.script(answer("Hello there."))
    done = ask(client, token, instructions="Be kind.", max_output_tokens=50, store=False)
    assert (done.status, done.output_text) == ("completed", "Hello there.")
    assert (done.instructions, done.max_output_tokens) == ("Be kind.", 50)
    row = check_price(customer, done)
    assert (row.streamed, row.status, row.outcome) == (False, 200, "finished")
    assert upstream(fake, token) == {
        "model": "up/scripted",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": token},
        ],
        "stream": False,
        "max_tokens": 50,
    }


def test_a_stream_is_strictly_what_the_package_expects(client, customer, fake):
    events = events_of(client, fake.script(stream("Hello there")))
    assert names_of(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    done = Response.model_validate(events[-1]["response"])
    assert done.output_text == "Hello there"
    row = check_price(customer, done)
    assert row.streamed
    assert row.cost_nano == 10 * INPUT + 2 * OUTPUT


def test_the_stream_helper_gathers_the_response(client, customer, fake):
    token = fake.script(stream("Hello there"))
    with client.responses.stream(model="scripted", input=token) as events:
        deltas = [each.delta for each in events if each.type == "response.output_text.delta"]
        done = events.get_final_response()
    assert deltas == ["Hello ", "there"]
    assert done.output_text == "Hello there"
    check_price(customer, done)


def test_the_async_client_asks_and_streams(customer, fake):
    token = fake.script(either(stream("Hello there"), answer("Hello there")))

    async def story(client):
        done = await client.responses.create(model="scripted", input=token)
        async with client.responses.stream(model="scripted", input=token) as events:
            return done.output_text, (await events.get_final_response()).output_text

    assert run_async(customer, story) == ("Hello there", "Hello there")
    rows = eventually(customer.requests, lambda rows: len(rows) == 2)
    assert [(row.api, row.streamed) for row in rows] == [("responses", False), ("responses", True)]


@pytest.mark.parametrize(
    ("finish_reason", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_an_answer_that_was_cut_off_is_incomplete(client, customer, fake, finish_reason, reason):
    cut = {"finish_reason": finish_reason}
    token = fake.script(either(stream("Hel", **cut), answer("Hel", **cut)))
    done = ask(client, token)
    assert (done.status, done.incomplete_details.reason) == ("incomplete", reason)
    assert done.output[0].status == "incomplete"
    check_price(customer, done)
    last = events_of(client, token)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["usage"]["cost"] > 0


@pytest.mark.parametrize("streamed", [True, False])
def test_what_came_from_the_cache_is_told_and_cheaper(client, customer, fake, streamed):
    usage = usage_of(10, 5, cached_tokens=4)
    token = fake.script(either(stream("Hi", usage=usage), answer("Hi", extra={"usage": usage})))
    if streamed:
        done = Response.model_validate(events_of(client, token)[-1]["response"])
    else:
        done = ask(client, token)
    assert done.usage.input_tokens_details.cached_tokens == 4
    assert check_price(customer, done).cost_nano == 6 * INPUT + 4 * CACHED + 5 * OUTPUT


# Tools, reasoning, images


def check_calls(response: Response) -> list:
    assert [item.type for item in response.output] == ["function_call", "function_call"]
    assert [item.name for item in response.output] == [name for name, _ in CALLS]
    given = [orjson.loads(item.arguments) for item in response.output]
    assert given == [arguments for _, arguments in CALLS]
    assert len({item.call_id for item in response.output}) == 2
    return response.output


def test_tools_are_called_in_parallel_and_their_results_go_back(client, customer, fake):
    token = fake.script_attempts([tool_call_answer(CALLS), answer("Take an umbrella.")])
    done = ask(client, token, tools=[WEATHER], tool_choice="required", parallel_tool_calls=True)
    calls = check_calls(done)
    check_price(customer, done)

    outputs = [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"sky {number} ☁"}
        for number, call in enumerate(calls)
    ]
    history = [{"role": "user", "content": token}, *calls, *outputs]
    followed = client.responses.create(model="scripted", input=history, tools=[WEATHER])
    assert followed.output_text == "Take an umbrella."
    first, second = [call.json for call in fake.calls(token)]
    function = {"name": "weather", "parameters": PARAMETERS, "strict": True}
    assert first["tools"] == [{"type": "function", "function": function}]
    assert (first["tool_choice"], first["parallel_tool_calls"]) == ("required", True)
    user, said, *replies = second["messages"]
    assert user == {"role": "user", "content": token}
    assert [call["id"] for call in said["tool_calls"]] == [call.call_id for call in calls]
    assert replies == [
        {"role": "tool", "tool_call_id": call.call_id, "content": f"sky {number} ☁"}
        for number, call in enumerate(calls)
    ]


def test_codex_may_offer_tools_that_kyma_does_not_run(client, customer, fake):
    token = fake.script(answer("Hello."))
    hosted = [
        {"type": "web_search", "external_web_access": False},
        {"type": "image_generation", "output_format": "png"},
    ]
    done = ask(client, token, tools=[hosted[0], WEATHER, hosted[1]], tool_choice="auto")
    assert [tool.name for tool in done.tools] == ["weather"]
    assert [tool["function"]["name"] for tool in upstream(fake, token)["tools"]] == ["weather"]
    check_price(customer, done)


def test_tool_calls_stream_in_fragments(client, customer, fake):
    token = fake.script(tool_call_stream(CALLS, fragment=3))
    events = events_of(client, token, tools=[WEATHER])
    deltas = [one for one in events if one["type"] == "response.function_call_arguments.delta"]
    assert len(deltas) > 10
    for index, (_, arguments) in enumerate(CALLS):
        pieces = [one["delta"] for one in deltas if one["output_index"] == index]
        assert orjson.loads("".join(pieces)) == arguments
    done = Response.model_validate(events[-1]["response"])
    check_calls(done)
    check_price(customer, done)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_is_an_item_that_goes_back_up(client, customer, fake, field):
    said = {"role": "assistant", "content": "42", field: "Six times seven."}
    usage = usage_of(10, 9) | {"completion_tokens_details": {"reasoning_tokens": 6}}
    choice = {"index": 0, "message": said, "finish_reason": "stop"}
    token = fake.script(json_answer({"choices": [choice], "usage": usage}))
    done = ask(client, token, reasoning={"effort": "low"})
    thought, message = done.output
    assert (thought.type, thought.content[0].text) == ("reasoning", "Six times seven.")
    assert done.output_text == "42"
    assert check_price(customer, done).reasoning_tokens == 6
    assert upstream(fake, token)["reasoning_effort"] == "low"

    history = [
        {"role": "user", "content": "What?"},
        thought,
        message,
        {"role": "user", "content": token},
    ]
    client.responses.create(model="scripted", input=history)
    sent = fake.calls(token)[1].json["messages"][1]
    assert sent == {"role": "assistant", "content": "42", "reasoning_content": "Six times seven."}


def test_reasoning_streams_before_the_text(client, customer, fake):
    steps = [Event(chunk({"reasoning": "Six times "})), Event(chunk({"reasoning": "seven."}))]
    steps += [Event(chunk({"content": "42"}, finish_reason="stop"))]
    token = fake.script([Head(), *steps, Event(usage_chunk(usage_of(10, 9))), *END])
    events = events_of(client, token)
    deltas = [one["delta"] for one in events if one["type"] == "response.reasoning_text.delta"]
    assert deltas == ["Six times ", "seven."]
    done = Response.model_validate(events[-1]["response"])
    assert [item.type for item in done.output] == ["reasoning", "message"]
    check_price(customer, done)


def test_images_go_up_as_they_were_sent(client, customer, fake):
    token = fake.script(answer("A cat."))
    parts = [
        {"type": "input_text", "text": token},
        {"type": "input_image", "image_url": PIXEL, "detail": "low"},
    ]
    done = client.responses.create(model="scripted", input=[{"role": "user", "content": parts}])
    assert upstream(fake, token)["messages"][0]["content"] == [
        {"type": "text", "text": token},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]
    assert check_price(customer, done).images == 1


# Around the answer


@pytest.mark.gateway_with(**KEPT_ALIVE)
def test_a_silent_stream_is_kept_alive(client, customer, fake):
    token = fake.script([Head(), HELLO, WaitFor("the comments"), WORLD, STOP, *END])
    with client.responses.with_streaming_response.create(
        model="scripted", input=token, stream=True
    ) as raw:
        lines = raw.iter_lines()
        assert ": keep-alive" in lines
        fake.go(token, "the comments")
        assert "event: response.completed" in lines


def test_who_hangs_up_pays_for_what_was_delivered(client, customer, fake):
    token = fake.script([Head(), HELLO, WaitFor("the hang-up"), WORLD, STOP, *END])
    with ask(client, token, stream=True) as events:
        assert any(each.type == "response.output_text.delta" for each in events)
    fake.wait_for_hang_up(token)
    prompt_tokens, completion_tokens = estimate(token, 6)
    billed(
        customer,
        prompt_tokens * INPUT + completion_tokens * OUTPUT,
        api="responses",
        outcome="client-gone",
        status=200,
        estimated=True,
        completion_tokens=completion_tokens,
    )


def test_the_receipt_is_found_by_the_id_of_the_response(client, customer, fake):
    raw = client.responses.with_raw_response.create(
        model="scripted", input=fake.script(answer("Hello."))
    )
    done = raw.parse()
    row = customer.settled_request()
    assert raw.headers["x-request-id"] == done._request_id == str(row.id)
    assert raw.headers["x-generation-id"] == done.id == f"resp_{row.id.hex}"
    receipt = customer.get(f"/v1/generation?id={done.id}").json()["data"]
    assert (receipt["id"], receipt["api_type"]) == (done.id, "responses")
    assert receipt["total_cost"] == done.usage.cost


def test_what_was_said_is_kept_sealed(client, customer, fake):
    token = fake.script(stream("Hello there"))
    events_of(client, token)
    kept = orjson.loads(customer.content(customer.settled_request().id))
    assert kept["request"] == {"model": "scripted", "input": token, "stream": True}
    assert kept["answer"] == [{"content": "Hello there"}]
