"""Whatever a caller sends: the exact 4xx, and a message that says what to change.

Nothing is held, nothing charged, no provider asked; one row tells of it.
"""

import gzip
import json

import pytest
import requests

from gateway.models import ApiRequest
from tests.support.gateway.chat_bodies import GIVEN, HELLO, IMAGE, NEVER_FORWARDED, TOOL
from tests.support.gateway.http_client import error_of
from tests.support.gateway.local_provider_process import MODEL
from tests.support.gateway.wire_client import CHAT, WireClient
from tests.support.live import DEADLINE_S, USD, Customer
from tests.support.provider.scripts import answer

GOOD = {"model": "scripted", "messages": [HELLO]}
LIMIT = 10_000_000
CONTEXT = 8192
KINDS = {
    400: "invalid_request",
    413: "payload_too_large",
    415: "invalid_request",
    422: "unprocessable",
}


def post(customer: Customer, raw, **headers: str) -> requests.Response:
    """Post bytes as they are; `content_type=None` sends no such header."""
    given = {"content_type": "application/json", **headers}
    fields = {name.replace("_", "-"): value for name, value in given.items() if value is not None}
    return requests.post(
        customer.gateway.url + CHAT,
        data=raw,
        headers={**customer.headers, **fields},
        timeout=DEADLINE_S,
    )


def check_refused(customer, response, status: int, told: str, *, param=None, kind=None) -> None:
    assert response.status_code == status, response.text
    error = error_of(response)
    assert told in error["message"]
    assert len(error["message"]) < 400
    assert error["message"].endswith(".")
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["metadata"]["error_type"] == (kind or KINDS[status])
    row = customer.settled_request()
    assert (row.status, row.outcome) == (status, ApiRequest.Outcome.REFUSED)
    assert (row.attempts, row.hold_nano, row.cost_nano) == ([], 0, 0)
    check_untouched(customer)


def check_untouched(customer: Customer) -> None:
    assert customer.holds() == []
    assert customer.usage_entries() == []
    assert (customer.balance_nano(), customer.held_nano()) == (USD, 0)


# What is no JSON object


def nested(levels: int) -> bytes:
    return b'{"x":' + (levels - 1) * b"[" + (levels - 1) * b"]" + b"}"


def with_value(value: str) -> bytes:
    return json.dumps(GOOD | {"seed": "HERE"}).replace('"HERE"', value).encode()


NO_JSON = {
    "nothing": (b"", "The body is empty"),
    "blanks": (b" \r\n\t", "The body is empty"),
    "cut short": (b'{"model": "scripted", "mess', "not valid JSON"),
    "a comma too many": (b'{"model": "scripted",}', "not valid JSON"),
    "single quotes": (b"{'model': 'scripted'}", "not valid JSON"),
    "two documents": (b'{"model": "x"}{"model": "y"}', "not valid JSON"),
    "a form": (b"model=scripted&messages=Hello", "not valid JSON"),
    "a raw line break": (b'{"model": "scrip\nted"}', "not valid JSON"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "not valid JSON"),
    "a list": (b"[]", "must be one JSON object"),
    "a text": (b'"Hello"', "must be one JSON object"),
    "a number": (b"17", "must be one JSON object"),
    "null": (b"null", "must be one JSON object"),
    "NaN": (with_value("NaN"), "no NaN or Infinity"),
    "Infinity": (with_value("Infinity"), "no NaN or Infinity"),
    "minus Infinity": (with_value("-Infinity"), "no NaN or Infinity"),
    "a float too large": (with_value("1e999"), "A number is too large"),
    "an integer too large": (with_value("18446744073709551616"), "doesn't fit 64 bits"),
    "an integer too small": (with_value("-9223372036854775809"), "doesn't fit 64 bits"),
    "an endless integer": (with_value(5000 * "9"), "A number is too large"),
    "a key twice": (b'{"model":"a","model":"b"}', 'The key "model" stands twice'),
    "a key twice below": (
        b'{"model":"scripted","messages":[{"role":"user","content":"a","content":"b"}]}',
        'The key "content" stands twice',
    ),
    "too deep": (nested(65), "nested too deeply: use at most 64 levels"),
    "much too deep": (nested(300_000), "nested too deeply: use at most 64 levels"),
    "Latin-1": ('{"model": "é"}'.encode("latin-1"), "not UTF-8 (at byte 11)"),
    "UTF-16": (json.dumps(GOOD).encode("utf-16"), "not UTF-8 (at byte 0)"),
    "a raw surrogate": (b'{"model": "\xed\xa0\x80"}', "not UTF-8"),
    "half a pair": (rb'{"model": "\ud83d"}', "half of a surrogate pair"),
    "halves in disorder": (rb'{"model": "\ude00\ud83d"}', "half of a surrogate pair"),
}


@pytest.mark.parametrize("what", NO_JSON)
def test_a_body_that_is_no_json_object_is_told_why(customer, what):
    raw, told = NO_JSON[what]
    check_refused(customer, post(customer, raw), 400, told)


# Fields


def messages(*given) -> dict:
    return {"messages": list(given)}


def part(given) -> dict:
    return messages({"role": "user", "content": [given]})


FIELDS = [
    ({"model": None}, "model", "is missing"),
    ({"model": 7}, "model", "must be a string"),
    ({"model": ""}, "model", "not an empty string"),
    ({"model": 201 * "x"}, "model", "201"),
    ({"model": ["scripted"]}, "model", "must be a string"),
    ({"model": "no/such-model"}, "model", 'no model "no/such-model". GET /v1/models lists'),
    ({"model": 200 * "x"}, "model", f'There is no model "{80 * "x"}". GET'),
    ({"messages": None}, "messages", "is missing"),
    ({"messages": []}, "messages", "not an empty list"),
    ({"messages": 2001 * [HELLO]}, "messages", "2,001"),
    ({"messages": "Hello"}, "messages", "must be a list"),
    ({"messages": HELLO}, "messages", "not an object"),
    (messages("Hello"), "messages[0]", "must be an object with `role`"),
    (messages({"content": "x"}), "messages[0].role", "must be system, developer, user"),
    (messages({"role": "robot", "content": "x"}), "messages[0].role", "not robot"),
    (messages(HELLO, {"role": "user"}), "messages[1].content", "is missing"),
    (messages({"role": "user", "content": 1}), "messages[0].content", "a list of parts, not 1"),
    (messages({"role": "user", "content": []}), "messages[0].content", "not an empty list"),
    (part({"type": "txt"}), "messages[0].content[0].type", "must be text, image_url"),
    (part({"type": "text"}), "messages[0].content[0].text", "is missing"),
    (part({"type": "input_audio"}), "messages[0].content[0]", "is not supported yet"),
    (
        part({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
        "messages[0].content[0].image_url.url",
        "must be an http(s) address or data:image/",
    ),
    ({"tools": 1025 * [TOOL]}, "tools", "1,025"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "is missing"),
    ({"tools": [{"type": "web"}]}, "tools[0].type", "must be function or custom, not web"),
    (
        {"tools": [{"type": "function", "function": {"name": "a b"}}]},
        "tools[0].function.name",
        "1 to 128 letters, digits, _ or -",
    ),
    ({"tool_choice": "maybe"}, "tool_choice", "must be none, auto or required, not maybe"),
    ({"temperature": 3}, "temperature", "not 3"),
    ({"temperature": "hot"}, "temperature", "must be a number"),
    ({"temperature": True}, "temperature", "not true"),
    ({"temperature": 1e308}, "temperature", "not 1e+308"),
    ({"top_p": 1.1}, "top_p", "from 0 to 1"),
    ({"max_tokens": 0}, "max_tokens", "must be an integer from 1 to 2147483647, not 0"),
    ({"max_tokens": -1}, "max_tokens", "from 1"),
    ({"max_tokens": 2**31}, "max_tokens", "to 2147483647"),
    ({"max_tokens": 2**64 - 1}, "max_tokens", "to 2147483647"),
    ({"max_tokens": 1.5}, "max_tokens", "must be an integer"),
    ({"max_tokens": "10"}, "max_tokens", "must be an integer"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", "must be an integer"),
    ({"n": 0}, "n", "from 1 to 8"),
    ({"n": 9}, "n", "from 1 to 8"),
    ({"stream": "true"}, "stream", "must be true or false"),
    ({"stream_options": []}, "stream_options", "must be an object"),
    ({"stop": [""]}, "stop[0]", "that isn't empty"),
    ({"stop": 17 * ["x"]}, "stop", "16"),
    ({"seed": 2**63}, "seed", "must be an integer"),
    ({"logit_bias": {"1": 101}}, "logit_bias", "not 101"),
    ({"logprobs": 1}, "logprobs", "must be true or false"),
    ({"top_logprobs": 21}, "top_logprobs", "from 0 to 20"),
    ({"response_format": "json"}, "response_format", "an object with `type`"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "not xml"),
    (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
        "is missing",
    ),
    ({"reasoning_effort": "most"}, "reasoning_effort", "xhigh or max, not most"),
    ({"user": 513 * "x"}, "user", "513"),
    ({"provider": {"sort": "cheapest"}}, "provider.sort", "price, throughput or latency"),
    ({"models": "scripted"}, "models", "must be a list"),
]


@pytest.mark.parametrize(("fields", "param", "told"), FIELDS, ids=lambda given: str(given)[:40])
def test_a_field_that_is_wrong_is_named(customer, fields, param, told):
    check_refused(customer, customer.post(GOOD | fields), 400, told, param=param)


def test_an_unknown_model_has_the_code_that_clients_look_for(customer):
    assert error_of(customer.post(GOOD | {"model": "nope"}))["code"] == "model_not_found"


REPLY_TO_NOBODY = {"role": "tool", "tool_call_id": "c9", "content": "found"}


@pytest.mark.parametrize(
    ("fields", "param", "told"),
    [
        ({"top_logprobs": 5}, "top_logprobs", "set `logprobs` to true"),
        ({"tool_choice": "required"}, "tool_choice", "but there are no `tools`"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
            "tool_choice",
            "names the function other, which isn't in `tools`",
        ),
        (
            {"messages": [HELLO, REPLY_TO_NOBODY]},
            "messages[1].tool_call_id",
            "answers a call that no earlier assistant message has",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_unprocessable(customer, fields, param, told):
    check_refused(customer, customer.post(GOOD | fields), 422, told, param=param)


# Size


def test_text_that_no_context_could_hold_is_refused_by_kyma(customer):
    long = {"role": "user", "content": (CONTEXT * 8 + 1) * "x"}
    response = customer.post(GOOD | messages(long))
    told = f"{CONTEXT * 8 + 1} bytes of text don't fit the context of {CONTEXT} tokens. Shorten"
    check_refused(customer, response, 400, told, param="messages", kind="context_length_exceeded")
    assert error_of(response)["code"] == "context_length_exceeded"


def test_text_that_a_context_could_hold_is_not(customer):
    long = {"role": "user", "content": (CONTEXT * 8) * "x"}
    assert customer.post(GOOD | messages(long)).status_code == 200


def test_text_that_the_model_finds_too_long_is_refused_likewise(customer, smollm, local_provider):
    limit = local_provider.health()["context_length"]
    digits = {"role": "user", "content": (limit // 10 + 1) * "0123456789"}  # A token each.
    response = customer.post({"model": MODEL, **messages(digits)})
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert error["metadata"] == {"error_type": "context_length_exceeded"}
    assert f"maximum context length is {limit} tokens" in error["message"]
    row = customer.settled_request()
    assert (row.status, row.error_type) == (400, "context_length_exceeded")
    assert [attempt["status"] for attempt in row.attempts] == [400]
    check_untouched(customer)


def in_pieces(raw: bytes):
    yield from (raw[at : at + 2**18] for at in range(0, len(raw), 2**18))


@pytest.mark.parametrize("as_sent", [bytes, in_pieces])
def test_a_body_over_10_mb_is_refused(customer, as_sent):
    raw = json.dumps(GOOD).encode().ljust(LIMIT + 1)
    response = post(customer, as_sent(raw))
    check_refused(customer, response, 413, f"The body is larger than {LIMIT} bytes, the most")


def test_a_body_of_10_mb_is_read_and_kept(customer):
    assert post(customer, json.dumps(GOOD).encode().ljust(LIMIT)).status_code == 200
    assert len(customer.content(customer.settled_request().id)) > LIMIT


def test_a_length_that_is_no_number_is_refused(customer):
    with WireClient(customer.gateway.port) as client:
        client.send_head({**customer.headers, "Content-Length": "-5"})
        assert client.read_to_the_end().status == 400
    check_untouched(customer)


@pytest.mark.gateway_with(BODY_TIMEOUT_S="1")  # As in test_slow_clients.py: one process for all.
def test_a_body_that_does_not_come_is_not_waited_for(customer):
    with WireClient(customer.gateway.port) as client:
        client.send_head({**customer.headers, "Content-Length": "100"})
        client.send(b'{"model":')
        refused = client.read_to_the_end()
    assert refused.status == 408
    row = customer.settled_request()
    assert (row.status, row.error_type) == (408, "timeout")
    check_untouched(customer)


# Headers


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/problem+json",
        "application/xml; charset=utf-8",
        "",
    ],
)
def test_another_media_type_is_refused(customer, content_type):
    response = post(customer, json.dumps(GOOD), content_type=content_type)
    check_refused(customer, response, 415, "Content-Type: application/json")
    assert error_of(response)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "Application/JSON ; charset=UTF-8"]
)
def test_json_may_be_announced_in_several_ways(customer, content_type):
    response = post(customer, json.dumps(GOOD).encode(), content_type=content_type)
    assert response.status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "gzip, identity"])
def test_a_compressed_body_is_refused(customer, encoding):
    raw = gzip.compress(json.dumps(GOOD).encode())
    response = post(customer, raw, content_encoding=encoding)
    check_refused(customer, response, 415, "Send the body without compression.")


# What is let through


def sent_up(fake, token: str) -> dict:
    (call,) = fake.calls(token)
    return call.json


def test_unknown_parameters_are_ignored(customer, fake):
    token = fake.script(answer("Hello."))
    unknown = {"no_such_parameter": {"deep": [1, {"er": None}]}, "": 1, "Temperature": 9}
    assert customer.ask(token, **unknown, **NEVER_FORWARDED).status_code == 200
    told = {"model", "messages", "stream", "max_tokens"}
    assert set(sent_up(fake, token)) == told


def test_null_counts_as_absent(customer, fake):
    token = fake.script(answer("Hello."))
    names = {*GIVEN, *NEVER_FORWARDED, "n", "stream", "stream_options", "max_tokens", "unknown"}
    assert customer.ask(token, **dict.fromkeys(names)).status_code == 200
    assert set(sent_up(fake, token)) == {"model", "messages", "stream", "max_tokens"}


def test_the_largest_of_everything_is_taken(customer, fake):
    token = fake.script(answer("Hello."))
    said = [{"role": "user", "content": "x"}] * 1999 + [{"role": "user", "content": token}]
    tools = [{"type": "function", "function": {"name": f"tool{n}"}} for n in range(128)]
    fields = {"tools": tools, "seed": 2**63 - 1, "max_tokens": 2**31 - 1, "n": 8}
    response = customer.post({"model": "scripted", "messages": said, **fields})
    assert response.status_code == 200, response.text
    body = sent_up(fake, token)
    assert (len(body["messages"]), len(body["tools"]), body["seed"]) == (2000, 128, 2**63 - 1)
    assert body["n"] == 8
    assert 2000 < body["max_tokens"] < CONTEXT  # What may be left beside so much.


def test_any_text_goes_up_as_it_came(customer, fake):
    token = fake.script(answer("Hello."))
    text = "\x00 \x1f \u2028 \ufeff 👩‍👩‍👧 \U0010ffff \\u0000 \ud7ff <|im_end|> ' \" " + token
    assert customer.ask(text).status_code == 200
    assert sent_up(fake, token)["messages"] == [{"role": "user", "content": text}]


def test_an_image_in_the_text_itself_may_be_large(customer):
    url = "data:image/png;base64," + 2_000_000 * "A"
    image = {**IMAGE, "image_url": {"url": url}}
    assert customer.post(GOOD | part(image)).status_code == 200
