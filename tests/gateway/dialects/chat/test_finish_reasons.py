"""Why an answer ended is told in OpenAI's words, and each client finds the calls that were sent."""

import pytest

from gateway.dialects.chat.answer import finish_meaning
from gateway.models import ApiRequest
from gateway.receipts.generation import finish_of
from tests.support.gateway.receipts import billed, both, events_of
from tests.support.live import eventually
from tests.support.provider.scripts import (
    End,
    Event,
    Head,
    Reset,
    answer,
    chunk,
    either,
    stream,
    tool_call_answer,
    tool_call_stream,
)

CALLS = [("look", {"q": 1}), ("open", {"q": 2})]


@pytest.mark.parametrize(
    ("native", "called", "told"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("eos", True, "tool_calls"),
        ("length", True, "length"),
        ("model_length", False, "length"),
        ("content_filter", True, "content_filter"),
        ("tool_use", True, "tool_calls"),
        ("function_call", False, "function_call"),
        ("network_error", True, "error"),
        (["stop"], False, "stop"),
    ],
)
def test_a_reason_has_one_of_openais_names(native, called, told):
    assert finish_meaning(native, called=called) == told


@both
def test_an_answer_with_calls_ends_for_their_sake(customer, fake, streamed):
    prompt = fake.script(
        either(
            tool_call_stream(CALLS, finish_reason="stop"),
            tool_call_answer(CALLS, finish_reason="stop"),
        )
    )
    assert ends_of(customer.ask(prompt, stream=streamed), streamed) == [("tool_calls", "stop")]


@both
@pytest.mark.parametrize(
    ("path", "body", "where", "told"),
    [
        ("/v1/chat/completions", {}, "finish_reason", "length"),
        ("/v1/messages", {"max_tokens": 9}, "stop_reason", "max_tokens"),
    ],
)
def test_what_a_provider_calls_by_its_own_name_is_told_by_ours(
    customer, fake, streamed, path, body, where, told
):
    cut = [Head(), Event(chunk({"content": "One"}, finish_reason="model_length")), End()]
    prompt = fake.script(either(cut, answer("One", finish_reason="model_length")))
    messages = [{"role": "user", "content": prompt}]
    body |= {"model": "scripted", "messages": messages, "stream": streamed}
    assert f'"{where}":"{told}"' in customer.post(body, path=path).text


def ends_of(response, streamed: bool) -> list[tuple[str, str]]:
    assert response.status_code == 200
    said = list(events_of(response))[:-1] if streamed else [response.json()]
    choices = [choice for one in said for choice in one["choices"] if choice["finish_reason"]]
    return [(one["finish_reason"], one["native_finish_reason"]) for one in choices]


@both
@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
def test_an_answer_that_its_provider_gave_up_is_none(customer, fake, streamed, reason):
    given_up = [Head(), Event(chunk({}, finish_reason=reason)), End()]
    prompt = fake.script(either(given_up, answer("Hel", finish_reason=reason)))
    response = customer.ask(prompt, stream=streamed)
    assert response.status_code == 502
    billed(customer, 0, outcome="upstream-failed", status=502)
    assert logged(customer) == ("error", reason[:24])


# What GET /v1/generation says of it


def logged(customer) -> tuple[str | None, str | None]:
    """The reason that the answer told, and its provider's own word."""
    eventually(lambda: not customer.holds())
    row = customer.settled_request()
    told = customer.get(f"/v1/generation?id={row.id}").json()["data"]
    assert told["finish_reason"] == (row.finish_reason or None)
    return told["finish_reason"], told["native_finish_reason"]


@both
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_the_log_says_that_tools_were_called_as_the_answer_did(customer, fake, streamed, path):
    prompt = fake.script(
        either(
            tool_call_stream(CALLS, finish_reason="stop"),
            tool_call_answer(CALLS, finish_reason="stop"),
        )
    )
    messages = [{"role": "user", "content": prompt}]
    said = {"input": messages} if path == "/v1/responses" else {"messages": messages}
    body = {"model": "scripted", "max_tokens": 9, "stream": streamed, **said}
    response = customer.post(body, path=path)
    assert response.status_code == 200
    assert logged(customer) == ("tool_calls", "stop")


@both
@pytest.mark.parametrize(
    ("native", "told"), [("stop", "stop"), ("eos", "stop"), ("model_length", "length")]
)
def test_the_log_says_what_the_answer_did(customer, fake, streamed, native, told):
    words = [Head(), Event(chunk({"content": "One"}, finish_reason=native)), End()]
    prompt = fake.script(either(words, answer("One", finish_reason=native)))
    assert ends_of(customer.ask(prompt, stream=streamed), streamed) == [(told, native)]
    assert logged(customer) == (told, native)


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (stream("One", finish_reason=None), "stop"),
        (tool_call_stream(CALLS, finish_reason=None), "tool_calls"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
def test_a_stream_that_says_no_reason_gets_one(customer, fake, steps, told, options):
    response = customer.ask(fake.script(steps), stream=True, **options)
    assert ends_of(response, streamed=True) == [(told, None)]
    assert customer.settled_request().outcome == "finished"
    assert logged(customer) == (told, None)


def test_the_log_says_that_a_stream_ended_with_an_error(customer, fake):
    prompt = fake.script([Head(), Event(chunk({"content": "Hel"})), Reset()])
    *_, last = events_of(customer.ask(prompt, stream=True))
    assert logged(customer) == (last["choices"][0]["finish_reason"], None) == ("error", None)


@pytest.mark.parametrize(
    ("stored", "told"),
    [("eos", ("stop", "eos")), ("tool_calls", ("tool_calls", "tool_calls")), ("", (None, None))],
)
@pytest.mark.parametrize("attempts", [[], [{"provider": "old"}]])
def test_a_row_of_an_older_kyma_holds_the_providers_word(stored, told, attempts):
    assert finish_of(ApiRequest(finish_reason=stored, attempts=attempts)) == told
