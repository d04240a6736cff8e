"""What the gateway answers is what /v1/openapi.json says, to the last member of its own objects."""

import copy
import re
import uuid
from typing import Any

import jsonschema_rs
import pytest

from gateway.models import Model
from gateway.v1.openapi import document as openapi
from gateway.v1.openapi import objects
from gateway.v1.openapi.requests import EXAMPLES
from tests.gateway.conftest import live_route
from tests.support.factories import make_key
from tests.support.gateway.http_client import send
from tests.support.gateway.key_manager import Manager
from tests.support.gateway.receipts import END, STOP, events_of
from tests.support.gateway.tools_of_agents import CRM, PATCH
from tests.support.live import Customer, eventually
from tests.support.provider.scripts import (
    Event,
    Head,
    Reset,
    chunk,
    either,
    error,
    stream,
    tool_call_answer,
    tool_call_stream,
)

ANSWERING = {
    "/v1/chat/completions": ("ChatRequest", "messages"),
    "/v1/completions": ("TextRequest", "prompt"),
    "/v1/embeddings": ("EmbeddingRequest", "input"),
    "/v1/responses": ("ResponsesRequest", "input"),
    "/v1/messages": ("MessagesRequest", "messages"),
}
STREAMING = [path for path in ANSWERING if path != "/v1/embeddings"]
CAPPED = {
    "name": "CI",
    "caps": {"day": "0.50", "total": 20},
    "expires_at": "2130-01-31T12:00:00Z",
    "allowed_models": ["scripted"],
    "allowed_networks": ["127.0.0.0/8"],
    "requests_per_minute": 5,
    "retention_days": 7,
}


CLOSED = (
    *("Error", "Usage", "Message", "Response", "RunningResponse", "FailedResponse", "Embeddings"),
    *("MessageEvent", "ResponseEvent"),
)


def closed(schema: Any) -> Any:
    """The schema with no members beside those that it names, unless it says that there are."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    members = {name: closed(one) for name, one in schema.items()}
    if "properties" in members and members.get("type") == "object":
        members.setdefault("additionalProperties", False)
    return members


def strict_document() -> dict:
    document = copy.deepcopy(openapi.document())
    document["components"]["schemas"] |= closed(objects.SCHEMAS)
    schemas = document["components"]["schemas"]
    for name in CLOSED:
        schemas[name] = closed(schemas[name])
    return document


DOCUMENT = strict_document()


def held(path: str, method: str, response) -> Any:
    """The JSON of a response, once it was held to what the document says of this operation.

    Of a stream the list of its events' data, each held to it.
    """
    documented = DOCUMENT["paths"][path][method]["responses"].get(str(response.status_code))
    assert documented is not None, f"{response.status_code}: {response.text}"
    if "$ref" in documented:
        documented = DOCUMENT["components"]["responses"][documented["$ref"].rpartition("/")[2]]
    assert undocumented_headers(documented, response) == set()
    media_type = response.headers["Content-Type"].partition(";")[0]
    schema = documented["content"][media_type]["schema"]
    if media_type == "text/event-stream":
        data = schema["properties"]["data"]
        validator = validator_of(data.get("anyOf", [data])[0]["contentSchema"])
        events = [one for one in events_of(response) if one != "[DONE]"]
        for event in events:
            validator.validate(event)
        return events
    found = response.json()
    validator_of(schema).validate(found)
    return found


def validator_of(schema: dict):
    schema = {**schema, "components": DOCUMENT["components"]}
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return jsonschema_rs.validator_for({**dialect, **schema}, validate_formats=True)


def undocumented_headers(documented: dict, response) -> set[str]:
    """Kyma's own headers of a response, and those of its limits, that the document doesn't name."""
    own = re.compile(
        r"x-kyma-|(x|anthropic)-ratelimit-|x-request-id|x-generation-id|retry-after(-ms)?$"
    )
    known = {name.lower() for name in documented["headers"]}
    sent = {name.lower() for name in response.headers if own.match(name.lower())}
    return sent - known


def asked(customer: Customer, path: str, prompt: str = "Hello", **fields):
    name, prompt_field = ANSWERING[path]
    messages = [{"role": "user", "content": prompt}]
    if path == "/v1/messages":
        fields = {"thinking": {"type": "adaptive"}, **fields}
    said = messages if prompt_field == "messages" else prompt
    body = {**EXAMPLES[name], "model": "able", prompt_field: said, **fields}
    return customer.post(body, path=path)


@pytest.fixture
def able(gateway, fake):
    """A model that writes and embeds."""
    live_route("able", fake.base_url)
    Model.objects.filter(slug="able").update(capabilities=["tools", "vision", "embedding"])
    return gateway


@pytest.fixture
def asker(able):
    return Customer(able)


@pytest.mark.parametrize("path", ANSWERING)
def test_a_whole_answer(asker, path):
    assert held(path, "post", asked(asker, path))["usage"]["cost"] > 0


@pytest.mark.parametrize("path", STREAMING)
def test_a_stream(asker, path):
    assert held(path, "post", asked(asker, path, stream=True))


@pytest.mark.parametrize("path", STREAMING)
def test_a_stream_that_breaks_off(asker, fake, path):
    said = {"text": "Hello "} if path == "/v1/completions" else {"delta": {"content": "Hello "}}
    chunk = {
        "id": "1",
        "object": "x",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, **said}],
    }
    prompt = fake.script([Head(), Event(chunk), Reset()])
    *_, last = held(path, "post", asked(asker, path, prompt, stream=True))
    assert "provider_unavailable" in str(last) or last["response"]["error"]["code"]


CALLING = [
    one
    for one in tool_call_stream([("search", {"q": "x"}), ("open", {})])
    if isinstance(one, Event)
]
TALKATIVE = [
    Head(),
    Event(chunk({"role": "assistant", "reasoning": "Hm."})),
    Event(chunk({"content": "Let me see."})),
    *CALLING,
]
REFUSING = [Head(), Event(chunk({"refusal": "No."})), STOP, *END]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ([*TALKATIVE, *END], {"Hm.", "Let me see.", "search", "open"}),
        (REFUSING, {"No."}),
        (stream("Cut", finish_reason="length"), {"Cut"}),
    ],
    ids=["thinks, speaks and calls", "refuses", "is cut off"],
)
def test_a_stream_that(asker, fake, path, script, said):
    events = held(path, "post", asked(asker, path, fake.script(script), stream=True))
    assert {text for text in said if text in str(events)} == said


def test_a_stream_with_usage_and_logprobs(asker, fake):
    path, usage = "/v1/chat/completions", {"include_usage": True}
    events = held(path, "post", asked(asker, path, stream=True, stream_options=usage))
    assert events[-1]["usage"]["cost"] > 0
    assert events[0]["usage"] is None
    token = {"token": "Hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    said = chunk({"content": "Hi"})
    said["choices"][0]["logprobs"] = {"content": [token]}
    prompt = fake.script([Head(), Event(said), STOP, *END])
    wish = {"include": ["message.output_text.logprobs"]}
    events = held(
        "/v1/responses", "post", asked(asker, "/v1/responses", prompt, stream=True, **wish)
    )
    assert "-0.5" in str(events)


@pytest.mark.parametrize("name", ["MessageEvent", "ResponseEvent"])
def test_each_event_has_a_schema_that_takes_no_other(name):
    variants = DOCUMENT["components"]["schemas"][name]["anyOf"]
    kinds = [one["properties"]["type"]["const"] for one in variants]
    assert len(kinds) == len(set(kinds))
    for kind in [*kinds, "response.unheard"]:
        assert not validator_of({"$ref": f"#/components/schemas/{name}"}).is_valid(
            {"type": kind, "sequence_number": -1}
        )


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_an_answer_that_calls_a_tool(asker, fake, path):
    prompt = fake.script(tool_call_answer([("search", {"q": "x"})], text="Let me see."))
    assert "search" in str(held(path, "post", asked(asker, path, prompt)))


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_calls_the_tools_of_agents(asker, fake, streamed):
    calls = [("apply_patch", {"input": "x"}), ("mcp__crm__find", {}), ("mcp__crm__sql", {})]
    prompt = fake.script(either(tool_call_stream(calls), tool_call_answer(calls)))
    wish = {"tools": [PATCH, CRM], "tool_choice": "auto", "stream": streamed}
    said = held("/v1/responses", "post", asked(asker, "/v1/responses", prompt, **wish))
    assert "custom_tool_call" in str(said)
    assert "'namespace': 'mcp__crm__'" in str(said)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_calls_a_custom_tool(asker, fake, streamed):
    calls = [("note", {"input": "x"}), ("search", {})]
    prompt = fake.script(either(tool_call_stream(calls), tool_call_answer(calls)))
    wish = {"tools": [{"type": "custom", "custom": {"name": "note"}}], "stream": streamed}
    path = "/v1/chat/completions"
    said = held(path, "post", asked(asker, path, prompt, **wish))
    assert "{'name': 'note', 'input': 'x'}" in str(said)


def test_an_answer_that_is_repeated(asker):
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = {**EXAMPLES["ChatRequest"], "model": "able"}
    first, second = (asker.post(body, headers=headers) for _ in range(2))
    assert held("/v1/chat/completions", "post", second) == first.json()
    assert second.headers["idempotent-replayed"] == "true"


def test_a_count_of_tokens(asker):
    path = "/v1/messages/count_tokens"
    response = asker.post({**EXAMPLES["CountRequest"], "model": "able"}, path=path)
    assert held(path, "post", response)["input_tokens"] > 0


@pytest.mark.parametrize("path", ANSWERING)
def test_a_receipt_of_each_kind_of_answer(asker, path):
    response = asked(asker, path)
    eventually(lambda: not asker.holds())
    response = asker.get(f"/v1/generation?id={response.json()['id']}")
    found = held("/v1/generation", "get", response)["data"]
    assert found["receipt"]["total_nano"] > 0
    assert found["cost_details"]["input"] > 0


def test_a_receipt_of_a_failure(asker, fake):
    response = asked(asker, "/v1/chat/completions", fake.script(error(500)))
    response = asker.get(f"/v1/generation?id={response.json()['request_id']}")
    assert held("/v1/generation", "get", response)["data"]["cost_details"] is None


READS = [
    *("/v1/models", "/v1/models/{model}", "/v1/credits", "/v1/credits/balance", "/v1/auth/limits"),
    *("/v1/key", "/v1/credits/pricing", "/v1/limits/tiers", "/v1/providers", "/v1/receipts/keys"),
]


@pytest.mark.parametrize("path", READS)
def test_a_read(asker, path):
    assert held(path, "get", asker.get(path.format(model="able")))


@pytest.mark.parametrize("path", ["/v1/auth/limits", "/v1/key"])
def test_a_read_without_any_limit(able, path):
    assert held(path, "get", Customer(able, unlimited=True).get(path))


def test_a_key_from_its_making_to_its_end(able):
    manager = Manager(able)
    made = held("/v1/keys", "post", manager.manage("POST", "", CAPPED))
    one, path = "/v1/keys/{hash}", f"/{made['data']['hash']}"
    assert held(one, "get", manager.manage("GET", path))["data"] == made["data"]
    assert held(one, "patch", manager.manage("PATCH", path, {"caps": {"day": None}}))
    assert held("/v1/keys", "get", manager.manage("GET"))["data"]
    assert held(one, "delete", manager.manage("DELETE", path)) == {"deleted": True}
    assert manager.manage("GET", path).status_code == 404
    held(one, "get", manager.manage("GET", path))


# --- Errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ANSWERING)
@pytest.mark.parametrize(("upstream", "status"), [(500, 502), (503, 503), (504, 504), (429, 429)])
def test_a_provider_that_fails(asker, fake, path, upstream, status):
    response = asked(asker, path, fake.script(error(upstream)))
    assert response.status_code == status
    held(path, "post", response)


def without_key(customer, path):
    return send(customer.gateway, "POST", path, json={})


def without_credit(customer, path):
    return asked(Customer(customer.gateway, balance_nano=0), path)


def with_a_management_key(customer, path):
    headers = {"Authorization": f"Bearer {Manager(customer.gateway).management_text}"}
    return send(customer.gateway, "POST", path, json={}, headers=headers)


def too_often(customer, path):
    headers = {"Authorization": f"Bearer {make_key(customer.user, requests_per_minute=1)[1]}"}
    body = {**EXAMPLES[ANSWERING[path][0]], "model": "able"}
    sent = [customer.post(body, path=path, headers=headers) for _ in range(2)]
    return sent[-1]


def without_json(customer, path):
    return customer.post({}, path=path, headers={"Content-Type": "text/plain"})


REFUSALS = {
    "no key": (401, without_key),
    "no credit": (402, without_credit),
    "a management key": (403, with_a_management_key),
    "too often": (429, too_often),
    "no such model": (404, lambda asker, path: asked(asker, path, model="none")),
    "no route": (404, lambda asker, path: asked(asker, path, provider={"only": ["none"]})),
    "too large": (413, lambda asker, path: asked(asker, path, "x" * 10_000_000)),
    "no JSON": (415, without_json),
}


@pytest.mark.parametrize("path", ANSWERING)
@pytest.mark.parametrize(("status", "provoke"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal(asker, path, status, provoke):
    response = provoke(asker, path)
    assert response.status_code == status, response.text
    held(path, "post", response)


def test_fields_that_contradict_each_other(asker):
    response = asked(asker, "/v1/chat/completions", top_logprobs=1)
    assert response.status_code == 422
    held("/v1/chat/completions", "post", response)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/v1/models/{model}", "", 404),
        ("/v1/generation", "?id=", 400),
        ("/v1/generation", f"?id={uuid.uuid4()}", 404),
    ],
)
def test_a_read_in_vain(asker, path, query, status):
    response = asker.get(path.format(model="none") + query)
    assert response.status_code == status
    held(path, "get", response)


def test_a_key_is_made_with_a_management_key_alone(asker):
    response = asker.post({"name": "x"}, path="/v1/keys")
    assert response.status_code == 403
    held("/v1/keys", "post", response)
