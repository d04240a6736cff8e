"""What an application does with a model, done with each official package, whole and streamed.

Whichever API it asks, and whether or not it streams, it reads the same, and the provider is asked
the same.
"""

import orjson
import pytest
from pydantic import BaseModel

from tests.support.gateway.openai_clients import upstream
from tests.support.gateway.package_apis import APIS, DATA_URL, DESCRIPTION, PARAMETERS, WEB_URL, Api
from tests.support.gateway.receipts import both
from tests.support.live import Customer, eventually
from tests.support.provider.scripts import (
    Done,
    End,
    Event,
    Head,
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

each_api = pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
TEXT = "Grüße 🌍 aus Oslo"
CALLS = [("weather", {"city": "Oslo", "days": 3}), ("weather", {"city": "Zürich ☀", "days": 1})]


class City(BaseModel):
    name: str
    inhabitants: int


@pytest.fixture
def customer(committed, scripted, patient_gateway):
    return Customer(patient_gateway)


@pytest.fixture
def client(customer, api):
    with api.client(customer) as client:
        yield client


def user(text: str | list) -> dict:
    return {"role": "user", "content": text}


def paid_for(customer: Customer, api: Api, *, streamed: bool, count: int = 1) -> None:
    """Each of the requests was answered whole, logged as what it was, and paid once."""
    rows = eventually(customer.requests, lambda rows: len(rows) == count)
    told = {(row.api, row.streamed, row.status, row.outcome) for row in rows}
    assert told == {(api.name, streamed, 200, "finished")}
    entries = eventually(customer.usage_entries, lambda entries: len(entries) == count)
    assert {-one.amount_nano for one in entries} <= {row.cost_nano for row in rows}
    assert all(row.cost_nano for row in rows)


@both
@each_api
def test_text_is_read_as_it_was_said(client, customer, fake, api, streamed):
    token = fake.script(either(stream(TEXT), answer(TEXT)))
    done = api.ask(client, [user(token)], streamed=streamed)
    assert api.text(done) == TEXT
    assert upstream(fake, token)["messages"] == [user(token)]
    assert upstream(fake, token)["stream"] is streamed
    paid_for(customer, api, streamed=streamed)


@both
@each_api
def test_parallel_tools_are_called_and_what_they_found_is_told(
    client, customer, fake, api, streamed
):
    calling = either(tool_call_stream(CALLS, fragment=3), tool_call_answer(CALLS))
    token = fake.script_attempts([calling, either(stream(TEXT), answer(TEXT))])
    asked = api.ask(client, [user(token)], streamed=streamed, tools=[api.tool])
    calls = api.calls(asked)
    assert [call[1:] for call in calls] == CALLS
    found = {call_id: f"sky {place} ☁" for place, (call_id, *_) in enumerate(calls)}
    assert len(found) == 2

    turns = [user(token), *api.said(asked), *api.results(found)]
    done = api.ask(client, turns, streamed=streamed, tools=[api.tool])
    assert api.text(done) == TEXT
    first, second = [call.json for call in fake.calls(token)]
    (offered,) = first["tools"]
    function = {"name": "weather", "description": DESCRIPTION, "parameters": PARAMETERS}
    assert offered["function"] | {"strict": True} == function | {"strict": True}
    assert second["tools"] == first["tools"]
    asks, says, *replies = second["messages"]
    assert (asks, says["role"], says.get("content") or None) == (user(token), "assistant", None)
    sent = [(one["id"], one["function"]) for one in says["tool_calls"]]
    told = [(call_id, given["name"], orjson.loads(given["arguments"])) for call_id, given in sent]
    assert told == calls
    assert replies == [
        {"role": "tool", "tool_call_id": call_id, "content": text}
        for call_id, text in found.items()
    ]
    paid_for(customer, api, streamed=streamed, count=2)


@both
@each_api
def test_a_schema_goes_up_and_an_object_of_its_class_comes_back(
    client, customer, fake, api, streamed
):
    said = '{"name": "Zürich", "inhabitants": 448664}'
    token = fake.script(either(stream([said[:9], said[9:]]), answer(said)))
    done = api.ask(client, [user(token)], streamed=streamed, wanted=City)
    assert api.parsed(done) == City(name="Zürich", inhabitants=448664)
    wanted = upstream(fake, token)["response_format"]
    assert (wanted["type"], wanted["json_schema"]["strict"]) == ("json_schema", True)
    schema = wanted["json_schema"]["schema"]
    assert {name: one["type"] for name, one in schema["properties"].items()} == {
        "name": "string",
        "inhabitants": "integer",
    }
    assert schema["required"] == ["name", "inhabitants"]
    assert schema["additionalProperties"] is False
    paid_for(customer, api, streamed=streamed)


@both
@each_api
def test_images_go_up_as_they_are_or_as_their_address(
    client, customer, fake, hosted, api, streamed
):
    token = fake.script(either(stream(TEXT), answer(TEXT)))
    parts = [{"type": api.text_type, "text": token}, *api.image_parts]
    done = api.ask(client, [user(parts)], streamed=streamed, model=hosted)
    assert api.text(done) == TEXT
    assert upstream(fake, token)["messages"] == [
        user(
            [
                {"type": "text", "text": token},
                {"type": "image_url", "image_url": {"url": DATA_URL}},
                {"type": "image_url", "image_url": {"url": WEB_URL}},
            ]
        )
    ]
    assert customer.settled_request().images == 2
    paid_for(customer, api, streamed=streamed)


@both
@each_api
def test_reasoning_is_told_apart_and_goes_back_up(client, customer, fake, api, streamed):
    thought = {"reasoning_content": "Six times 🌍 seven."}
    steps = [Event(chunk({"reasoning_content": piece})) for piece in ("Six times 🌍 ", "seven.")]
    steps += [Event(chunk({"content": "42"}, finish_reason="stop"))]
    steps += [Event(usage_chunk(usage_of(10, 9)))]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "42", **thought},
        "finish_reason": "stop",
    }
    whole = json_answer({"choices": [choice], "usage": usage_of(10, 9)})
    token = fake.script(either([Head(), *steps, Done(), End()], whole))
    asked = api.ask(client, [user(token)], streamed=streamed, **api.thinks)
    assert (api.thought(asked), api.text(asked)) == ("Six times 🌍 seven.", "42")

    turns = [user("What?"), *api.said(asked), user(token)]
    api.ask(client, turns, streamed=streamed)
    sent = fake.calls(token)[1].json["messages"][1]
    assert (sent["role"], sent["content"], sent["reasoning_content"]) == (
        "assistant",
        "42",
        "Six times 🌍 seven.",
    )
    paid_for(customer, api, streamed=streamed, count=2)
