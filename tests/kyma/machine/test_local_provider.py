"""The local provider as its callers see it: a real process, the real model, over HTTP."""

import base64
import json
import platform
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
import requests
from pydantic import BaseModel

from tests.support.gateway.local_provider_process import MODEL, ROOT, start, stop
from tests.support.sources import LAYERS

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
STORY = [{"role": "user", "content": "Write a long story about a dragon."}]
# A thousand items of a thousand characters: it ends where the context does.
ENDLESS = {
    "max_tokens": 8000,
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "endless",
            "schema": {
                "type": "array",
                "items": {"type": "string", "minLength": 1000},
                "minItems": 1000,
            },
        },
    },
}
HAS_WHEEL = sys.platform == "linux" and platform.machine() == "x86_64"


@pytest.fixture(scope="module")
def provider():
    if not HAS_WHEEL:
        pytest.skip("llama.cpp's wheel is for Linux on x86-64")
    provider = start(KYMA_LOCAL_ENGINE="")
    yield provider
    stop(provider)


@pytest.fixture(scope="module")
def fallback():
    provider = start(KYMA_LOCAL_ENGINE="fallback")
    yield provider
    stop(provider)


@pytest.fixture
def client(provider):
    base_url = f"{provider.address}/v1"
    with openai.OpenAI(base_url=base_url, api_key="unused", max_retries=0) as client:
        yield client


def stream_text(events: list) -> str:
    return "".join(e["choices"][0]["delta"].get("content", "") for e in events if e["choices"])


# The process


def test_it_runs_the_real_model_and_says_so(provider):
    assert provider.health()["engine"] == "llama.cpp"
    assert provider.health()["model"] == MODEL
    assert provider.address in provider.line
    assert "llama.cpp" in provider.line


def test_it_imports_nothing_else_of_the_project():
    code = "import sys, kyma.machine.local_provider.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    modules = done.stdout.decode().split()
    assert not ({"django", "celery", *LAYERS} - {"kyma"}) & set(modules)
    ours = {name for name in modules if name.startswith("kyma.")} - {"kyma.machine"}
    assert all(name.startswith("kyma.machine.local_provider") for name in ours)


@pytest.mark.skipif(not HAS_WHEEL, reason="llama.cpp's wheel is for Linux on x86-64")
def test_sigterm_ends_it_at_once_in_the_middle_of_a_stream():
    provider = start(KYMA_LOCAL_ENGINE="")
    body = {"model": MODEL, "messages": STORY, "stream": True} | ENDLESS
    url = f"{provider.address}/v1/chat/completions"
    with requests.post(url, json=body, stream=True, timeout=10) as response:
        next(response.iter_lines())
        provider.process.send_signal(signal.SIGTERM)
        provider.process.communicate(timeout=10)
    assert provider.process.returncode == 0


def test_it_lists_its_one_model(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


# Answers


def test_it_knows_the_capital_of_france(provider):
    answer = provider.chat(CAPITAL)
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["prompt_tokens"] == 37


def test_a_stream_says_the_same_as_a_whole_answer(provider):
    whole = provider.chat(CAPITAL)
    events = provider.events(messages=CAPITAL, stream_options={"include_usage": True})
    assert stream_text(events) == whole["choices"][0]["message"]["content"]
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert events[-2]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == whole["usage"]
    assert all(event["usage"] is None for event in events[:-1])


def test_usage_is_not_streamed_unasked(provider):
    events = provider.events(messages=CAPITAL, max_tokens=3)
    assert all(event["choices"] and "usage" not in event for event in events)


def test_openais_client_reads_the_stream(client):
    stream = client.chat.completions.create(
        model=MODEL, messages=CAPITAL, temperature=0, stream=True, max_tokens=5
    )
    with stream:
        chunks = list(stream)
    assert chunks[-1].choices[0].finish_reason == "length"


def test_it_stops_at_max_tokens(provider):
    for name in ("max_tokens", "max_completion_tokens"):
        answer = provider.chat(STORY, **{name: 7})
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == 7


def test_a_stop_text_ends_the_answer_and_never_shows(provider):
    whole = provider.answer(STORY, max_tokens=40)
    stop = whole[30:45]
    expected = whole[: whole.index(stop)]
    answer = provider.chat(STORY, max_tokens=40, stop=stop)
    assert answer["choices"][0]["message"]["content"] == expected
    assert answer["choices"][0]["finish_reason"] == "stop"
    events = provider.events(messages=STORY, max_tokens=40, stop=["never said", stop])
    assert stream_text(events) == expected
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_same_seed_gives_the_same_answer(provider):
    def draw(seed: int) -> str:
        return provider.answer(STORY, temperature=1, max_tokens=16, seed=seed)

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_several_answers_are_drawn_and_counted_together(provider):
    answer = provider.chat(STORY, n=2, temperature=1, seed=3, max_tokens=8)
    first, second = answer["choices"]
    assert [first["index"], second["index"]] == [0, 1]
    assert first["message"]["content"] != second["message"]["content"]
    assert answer["usage"]["completion_tokens"] == 16


def test_a_developer_message_and_text_parts_are_read(provider):
    texts = ("What is the capital ", "of France?")
    parts = [{"type": "text", "text": text} for text in texts]
    system = {"role": "system", "content": "You know the world."}
    plain = provider.chat([system, *CAPITAL], max_tokens=4)
    other = provider.chat(
        [system | {"role": "developer"}, {"role": "user", "content": parts}], max_tokens=4
    )
    assert other["choices"] == plain["choices"]
    assert other["usage"] == plain["usage"]


def test_special_tokens_in_a_message_are_ordinary_text(provider):
    def prompt_tokens(text: str) -> int:
        message = {"role": "user", "content": text}
        return provider.chat([message], max_tokens=1)["usage"]["prompt_tokens"]

    assert prompt_tokens("<|im_end|>") - prompt_tokens("x") == 6


def test_completions_go_on_where_the_prompt_ends(provider):
    body = {"prompt": "The capital of France is", "max_tokens": 6}
    whole = provider.post("completions", **body).json()
    events = provider.events("completions", **body)
    assert "Paris" in whole["choices"][0]["text"]
    assert "".join(e["choices"][0]["text"] for e in events) == whole["choices"][0]["text"]
    tokens = provider.post("completions", prompt=[504, 3575, 282], max_tokens=2).json()
    assert tokens["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


# Formats


class City(BaseModel):
    name: str
    capital: bool
    districts: int | None


def test_an_answer_is_forced_into_a_pydantic_model(client):
    completion = client.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "Describe Paris in JSON."}],
        response_format=City,
        temperature=0,
        max_tokens=120,
    )
    assert isinstance(completion.choices[0].message.parsed, City)


def test_a_json_object_is_forced(provider):
    answer = provider.answer(
        [{"role": "user", "content": "What is the capital of France? Answer in JSON."}],
        response_format={"type": "json_object"},
        max_tokens=150,
    )
    assert isinstance(json.loads(answer), dict)


def nested_lists(depth: int) -> dict:
    schema: dict = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^a"},
        {"type": "array", "items": {}, "uniqueItems": True},
        {"type": "string", "maxLength": 1_000_000_000},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}}},
        {"anyOf": [{"type": "string"}], "properties": {"a": {"type": "string"}}},
        nested_lists(800),
    ],
    ids=["pattern", "unique", "huge", "recursive", "combined", "deep"],
)
def test_a_schema_that_cannot_be_forced_is_refused(provider, schema):
    response_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    response = provider.post("chat/completions", messages=CAPITAL, response_format=response_format)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "response_format"


# Refusals

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tools": [TOOL]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages.0.content.0"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages.0.content"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 5}, "n"),
        ({"stop": [""]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"model": None}, "model"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_name(provider, body, param):
    response = provider.post("chat/completions", **{"messages": CAPITAL} | body)
    error = response.json()["error"]
    assert response.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert error["message"]
    assert "code" in error


def test_an_empty_list_of_tools_is_no_request_for_tools(provider):
    assert provider.answer(CAPITAL, tools=[], tool_choice="none", max_tokens=2)


def test_an_unknown_model_is_not_found(provider, client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-17", messages=CAPITAL)
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff", b'{"temperature": NaN}', b"[" * 100_000])
def test_a_broken_body_is_refused(provider, raw):
    response = requests.post(f"{provider.address}/v1/chat/completions", data=raw, timeout=10)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_an_unknown_path_is_answered_in_the_same_shape(provider):
    response = requests.get(f"{provider.address}/v1/nothing", timeout=10)
    assert response.status_code == 404
    assert response.json()["error"]["message"]


def test_a_prompt_beyond_the_context_is_refused(provider):
    long = "word " * 9000
    chat = provider.post("chat/completions", messages=[{"role": "user", "content": long}])
    embedding = provider.post("embeddings", input=long)
    for response in (chat, embedding):
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"


# Embeddings


def test_embeddings_have_576_dimensions_in_either_encoding(provider, client):
    floats = provider.post("embeddings", input="A cat on the mat.").json()
    packed = provider.post("embeddings", input="A cat on the mat.", encoding_format="base64").json()
    vector = floats["data"][0]["embedding"]
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert len(vector) == 576
    assert struct.unpack("<576f", raw) == pytest.approx(vector, abs=1e-6)
    assert sum(x * x for x in vector) == pytest.approx(1)
    assert floats["usage"]["prompt_tokens"] == floats["usage"]["total_tokens"] > 4
    by_client = client.embeddings.create(model=MODEL, input="A cat on the mat.")
    assert by_client.data[0].embedding == pytest.approx(vector, abs=1e-6)


def test_embeddings_of_like_texts_lie_closer(provider):
    texts = [
        "The cat sits on the mat",
        "A kitten is resting on a rug",
        "Stock markets fell sharply today",
    ]
    cat, kitten, stocks = (
        item["embedding"] for item in provider.post("embeddings", input=texts).json()["data"]
    )

    def nearness(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert nearness(cat, kitten) > nearness(cat, stocks) + 0.05


def test_embeddings_take_tokens(provider):
    one = provider.post("embeddings", input=[504, 3575]).json()
    two = provider.post("embeddings", input=[[504, 3575], [282]]).json()
    assert one["data"][0]["embedding"] == two["data"][0]["embedding"]
    assert two["usage"]["prompt_tokens"] == 3
    for bad in ([49152], [[-1]], [], "", [[]], ["a", ""]):
        assert provider.post("embeddings", input=bad).status_code == 400


# One model, many callers


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_frees_the_model(provider, stream):
    body = {"model": MODEL, "messages": STORY, "stream": stream} | ENDLESS
    raw = json.dumps(body).encode()
    address = provider.address.removeprefix("http://").split(":")
    with socket.create_connection((address[0], int(address[1]))) as gone:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}"
        gone.sendall(head.encode() + b"\r\n\r\n" + raw)
        if stream:
            assert gone.recv(100).startswith(b"HTTP/1.1 200")
    begun = time.monotonic()
    provider.answer(CAPITAL, max_tokens=1)
    # What was asked before would take a minute on any machine.
    assert time.monotonic() - begun < 20


def test_two_requests_at_once_are_both_answered(provider):
    expected = provider.answer(CAPITAL)
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: provider.answer(CAPITAL), range(2)))
    assert answers == [expected, expected]


# The engine without a model


def test_the_fallback_says_what_it_is(fallback):
    assert fallback.health()["engine"] == "fallback"
    assert "fallback" in fallback.line
    answer = fallback.chat(CAPITAL)
    text = answer["choices"][0]["message"]["content"]
    assert text.startswith("This is Kyma's demo engine without a model:")
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert text == stream_text(fallback.events(messages=CAPITAL))


def test_the_fallback_obeys_limits_and_counts(fallback):
    short = fallback.chat(CAPITAL, max_tokens=5)
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 5
    assert short["usage"]["prompt_tokens"] > 10
    assert fallback.answer(CAPITAL, stop="demo engine") == "This is Kyma's "
    almost_full = fallback.chat([{"role": "user", "content": "word " * 8150}])
    assert almost_full["choices"][0]["finish_reason"] == "length"
    assert almost_full["usage"]["total_tokens"] == fallback.health()["context_length"]


def test_the_fallback_embeds_and_refuses_formats(fallback):
    first = fallback.post("embeddings", input=["a cat", "a dog"]).json()
    assert first == fallback.post("embeddings", input=["a cat", "a dog"]).json()
    assert len(first["data"][1]["embedding"]) == 576
    response_format = {"type": "json_object"}
    refused = fallback.post("chat/completions", messages=CAPITAL, response_format=response_format)
    assert refused.status_code == 400
