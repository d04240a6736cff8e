"""The faults of providers: what each sends, what its client is then told, and the fault's name.

As (steps, (status, error_type), fault): `AT_ONCE` before anything of an answer, `BROKEN_STREAMS`
and `BROKEN_BODIES` in its beginning, `MID_STREAM` once content has come. A request that is itself
to blame is `DECLINED`, as (steps, status, error_type).
"""

import contextlib
import socket

import pytest

from tests.support.gateway.receipts import LEAK, OVERLOADED, TEXT, TIMEOUT, UNAVAILABLE, USAGE
from tests.support.live import IMPATIENT, LESS_IMPATIENT
from tests.support.provider.scripts import (
    Bytes,
    Close,
    Done,
    End,
    Event,
    Head,
    RawBytes,
    Reset,
    Silence,
    answer,
    chunk,
    error,
    json_answer,
    stream,
    usage_chunk,
)


@contextlib.contextmanager
def deaf_port():
    """A base URL at which attempts to connect are never answered: its queue is full."""
    with socket.socket() as listener, contextlib.ExitStack() as queue:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with contextlib.suppress(TimeoutError):
            while True:
                waiting = queue.enter_context(socket.socket())
                waiting.settimeout(0.3)
                waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


impatient = pytest.mark.gateway_with(**IMPATIENT)
less_impatient = pytest.mark.gateway_with(**LESS_IMPATIENT)


def cases(faults: dict[str, tuple], mark: pytest.MarkDecorator = impatient) -> list:
    """Faults, of which the steps are the first, as parameters of a test. Where the provider is
    silent, the mark has the gateway not be patient.
    """
    return [
        pytest.param(*fault, id=name, marks=[mark] if is_silent(fault[0]) else [])
        for name, fault in faults.items()
    ]


def is_silent(steps: list) -> bool:
    return any(isinstance(step, Silence) for step in steps)


def raw_json(body: bytes, status: int = 200) -> list:
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    return [Head(status, headers), Bytes(body), End()]


# As vLLM says it, also in the midst of a stream.
VLLM_ERROR = {"object": "error", "message": LEAK, "type": "InternalServerError", "code": 500}
AT_ONCE = {
    "reset": ([Reset()], UNAVAILABLE, "broken"),
    "closed": ([Close()], UNAVAILABLE, "broken"),
    "no HTTP": ([RawBytes(b"SMTP ready\r\n\r\n"), Close()], UNAVAILABLE, "broken"),
    "silent": ([Silence()], TIMEOUT, "silent"),
    "500": (error(500, LEAK), UNAVAILABLE, "faulty"),
    "500 as HTML": ([Head(500, {"content-type": "text/html"}), End()], UNAVAILABLE, "faulty"),
    "500 at length": (error(500, LEAK * 2000), UNAVAILABLE, "faulty"),
    "503": (error(503, LEAK), OVERLOADED, "faulty"),
    "529": (error(529, LEAK), OVERLOADED, "faulty"),
    "504": (error(504, LEAK), TIMEOUT, "faulty"),
    "401": (error(401, LEAK, "invalid_api_key"), UNAVAILABLE, "faulty"),
    "402": (error(402, LEAK), UNAVAILABLE, "faulty"),
    "403": (error(403, LEAK), UNAVAILABLE, "faulty"),
    "404": (error(404, LEAK, "model_not_found"), UNAVAILABLE, "faulty"),
    "204": ([Head(204, {}), End()], UNAVAILABLE, "faulty"),
    "redirect": (
        [Head(307, {"location": "/v1/elsewhere", "content-length": "0"}), End()],
        UNAVAILABLE,
        "faulty",
    ),
    "HTML": (
        [Head(200, {"content-type": "text/html"}), Bytes(b"<html>Welcome</html>"), End()],
        UNAVAILABLE,
        "garbled",
    ),
    "broken JSON": (raw_json(b'{"choices": ['), UNAVAILABLE, "garbled"),
    "no object": (raw_json(b"[]"), UNAVAILABLE, "garbled"),
    "no UTF-8": (raw_json(b'{"choices": "\xff"}'), UNAVAILABLE, "garbled"),
    "nothing": (raw_json(b""), UNAVAILABLE, "garbled"),
    "error inside": (json_answer({"error": {"message": LEAK}}), UNAVAILABLE, "faulty"),
    "error text inside": (json_answer({"error": LEAK}), UNAVAILABLE, "faulty"),
    "object error": (json_answer(VLLM_ERROR), UNAVAILABLE, "faulty"),
    "503 inside": (json_answer({"error": {"message": LEAK, "code": 503}}), OVERLOADED, "faulty"),
}


BROKEN_STREAMS = {
    "headers and silence": ([Head(), Silence()], TIMEOUT, "silent"),
    "a role and silence": (
        [Head(), Event(chunk({"role": "assistant"})), Silence()],
        TIMEOUT,
        "silent",
    ),
    "malformed JSON": (
        [Head(), Bytes(b"data: {broken\n\n"), *stream("x")[1:]],
        UNAVAILABLE,
        "garbled",
    ),
    "malformed chunk": ([Head(), Event({"choices": "x"})], UNAVAILABLE, "garbled"),
    "error object": (
        [Head(), Event({"error": {"message": LEAK}}), Done(), End()],
        UNAVAILABLE,
        "faulty",
    ),
    "object error": ([Head(), Event(VLLM_ERROR), Done(), End()], UNAVAILABLE, "faulty"),
    "huge event": ([Head(), Event(chunk({"content": "x" * 10**6}))], UNAVAILABLE, "garbled"),
    "nothing but [DONE]": ([Head(), Done(), End()], UNAVAILABLE, "broken"),
    "a role and [DONE]": (
        [Head(), Event(chunk({"role": "assistant", "content": ""})), Done(), End()],
        UNAVAILABLE,
        "broken",
    ),
    "closed": ([Head(), Close()], UNAVAILABLE, "broken"),
    "ended": ([Head(), End()], UNAVAILABLE, "broken"),
    "only a role": ([Head(), Event(chunk({"role": "assistant"})), End()], UNAVAILABLE, "broken"),
    "a whole answer": (answer(TEXT), UNAVAILABLE, "garbled"),
}


SHORT = Head(200, {"content-type": "application/json", "content-length": "100"})
BROKEN_BODIES = {
    "closed": ([SHORT, RawBytes(b'{"choices'), Close()], UNAVAILABLE, "broken"),
    "reset": ([SHORT, RawBytes(b'{"choices'), Reset()], UNAVAILABLE, "broken"),
    "silent": ([SHORT, RawBytes(b'{"choices'), Silence()], TIMEOUT, "silent"),
    "no choices": (json_answer({"choices": []}), UNAVAILABLE, "garbled"),
    "malformed choices": (json_answer({"choices": ["x"]}), UNAVAILABLE, "garbled"),
    "nested too deeply": (
        raw_json(b'{"choices": [{"x":' + b"[" * 900 + b"]" * 900 + b"}]}"),
        UNAVAILABLE,
        "garbled",
    ),
    "a stream": (stream(TEXT), UNAVAILABLE, "garbled"),
}


MID_STREAM = {
    "malformed JSON": ([Bytes(b"data: {broken\n\n")], UNAVAILABLE, "garbled"),
    "no object": ([Bytes(b"data: 7\n\n")], UNAVAILABLE, "garbled"),
    "malformed chunk": ([Event({"choices": [{"delta": "x"}]})], UNAVAILABLE, "garbled"),
    "nested too deeply": (
        [Bytes(b'data: {"choices": [{"x":' + b"[" * 900 + b"]" * 900 + b"}]}\n\n")],
        UNAVAILABLE,
        "garbled",
    ),
    "huge event": ([Event(chunk({"content": "x" * 10**6}))], UNAVAILABLE, "garbled"),
    "error object": ([Event({"error": {"message": LEAK}})], UNAVAILABLE, "faulty"),
    "object error": ([Event(VLLM_ERROR), Done(), End()], UNAVAILABLE, "faulty"),
    "503 object": ([Event({"error": {"message": LEAK, "code": 503}})], OVERLOADED, "faulty"),
    "429 object": (
        [Event({"error": {"message": LEAK, "code": 429}})],
        (429, "rate_limit_exceeded"),
        "overloaded",
    ),
    "reset": ([Reset()], UNAVAILABLE, "broken"),
    "closed": ([Close()], UNAVAILABLE, "broken"),
    "ended without a finish reason": ([End()], UNAVAILABLE, "broken"),
    "usage and no end": ([Event(usage_chunk(USAGE)), End()], UNAVAILABLE, "broken"),
    "silence": ([Silence()], TIMEOUT, "silent"),
}


DECLINED = {
    "400": (error(400, f"Bad schema. {LEAK}"), 400, "invalid_request"),
    "400 of another shape": (
        json_answer({"detail": f"Bad schema. {LEAK}"}, status=400),
        400,
        "invalid_request",
    ),
    "400 as text": (
        json_answer({"error": f"Bad schema. {LEAK}"}, status=400),
        400,
        "invalid_request",
    ),
    "400 inside": (
        json_answer({"error": {"message": f"Bad schema. {LEAK}", "code": 400}}),
        400,
        "invalid_request",
    ),
    "context": (
        error(400, f"Bad schema. {LEAK}", "context_length_exceeded"),
        400,
        "context_length_exceeded",
    ),
    "413": (error(413, f"Bad schema. {LEAK}"), 413, "payload_too_large"),
    "422": (error(422, f"Bad schema. {LEAK}"), 422, "unprocessable"),
    "moderation": (
        error(403, f"Bad schema. {LEAK}", "content_policy_violation"),
        403,
        "permission_denied",
    ),
}
