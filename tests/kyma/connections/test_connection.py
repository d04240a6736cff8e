"""The deadlines and bounds of a connection, at a real process that is impatient."""

import time

import orjson
import pytest

from tests.support.doors import (
    BODY_S,
    HEAD_S,
    IDLE_S,
    begin_new_peak,
    ended_after_s,
    memory_of,
    send_unless_ended,
)
from tests.support.gateway.wire_client import Answer, WireClient
from tests.support.live import eventually

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
MOST_HEAD_BYTES = 64_000
MOST_HEADERS = 100
MOST_URL_BYTES = 8_000
MB = 1_000_000
SLACK_S = 3.0  # until a look for overdue connections, on a slow machine


def ask(client: WireClient, request: bytes = GET + b"\r\n") -> Answer:
    """Send a request on a connection that stays open, and read its answer."""
    client.received = b""
    client.send(request)
    client.read_until(b'{"status": "ok"}')
    return Answer.of(client.received)


def refusal(port: int, *parts: bytes) -> Answer:
    """Send the parts until the server refuses them. Returns its refusal."""
    client = WireClient(port)
    for part in parts:
        if not send_unless_ended(client, part):
            break
    return client.read_to_the_end()


# --- Heads


def test_a_silent_connection_is_ended(impatient):
    with WireClient(impatient.port) as client:
        assert HEAD_S - 0.2 < ended_after_s(client) < HEAD_S + SLACK_S
        assert client.received == b""


@pytest.mark.parametrize("piece", [b"X-More: 1\r\n", b"x"])
def test_half_a_head_gets_no_more_time_by_growing(impatient, piece):
    with WireClient(impatient.port) as client:
        client.send(GET)
        begun_at = time.monotonic()
        client.socket.settimeout(0.1)
        eventually(lambda: dribbled(client, piece), within_s=HEAD_S + SLACK_S)
        assert time.monotonic() - begun_at > HEAD_S - 0.2
        assert client.received.startswith(b"HTTP/1.1 408 ")


def dribbled(client: WireClient, piece: bytes) -> bool:
    """Send a little more. Returns True once the server has answered or ended the connection."""
    if not send_unless_ended(client, piece):
        return True
    try:
        client.received += client.socket.recv(65536)
    except TimeoutError:
        return False
    return True


def test_a_second_half_head_has_the_time_of_a_head_and_not_of_an_idle_connection(impatient):
    with WireClient(impatient.port) as client:
        ask(client)
        client.received = b""
        client.send(GET)
        assert ended_after_s(client) < IDLE_S
        assert client.received.startswith(b"HTTP/1.1 408 ")


def test_a_connection_may_be_idle_between_requests_but_not_for_ever(impatient):
    with WireClient(impatient.port) as client:
        ask(client)
        time.sleep((HEAD_S + IDLE_S) / 2)
        ask(client)
        client.received = b""
        assert HEAD_S < ended_after_s(client) < IDLE_S + SLACK_S


def test_empty_lines_keep_no_connection_open(impatient):
    with WireClient(impatient.port) as client:
        ask(client)
        client.received = b""
        client.socket.settimeout(0.1)
        eventually(lambda: dribbled(client, b"\r\n"), within_s=IDLE_S + SLACK_S)


def test_headers_of_the_largest_size_are_taken(impatient):
    fields = GET.partition(b"\r\n")[2]
    room = MOST_HEAD_BYTES - len(fields) - len(b"X-Long: \r\n")
    with WireClient(impatient.port) as client:
        assert ask(client, GET + b"X-Long: %b\r\n\r\n" % (b"x" * room)).status == 200
    lines = b"".join(b"X-%d: 1\r\n" % n for n in range(MOST_HEADERS - 1))
    with WireClient(impatient.port) as client:
        assert ask(client, GET + lines + b"\r\n").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Long: %b\r\n\r\n" % (b"x" * MOST_HEAD_BYTES),
        b"".join(b"X-%d: %b\r\n" % (n, b"x" * 1000) for n in range(70)) + b"\r\n",
        b"".join(b"X-%d: 1\r\n" % n for n in range(MOST_HEADERS)) + b"\r\n",
    ],
    ids=["one long header", "many bytes", "many headers"],
)
def test_headers_that_are_too_large_get_431(impatient, headers):
    answer = refusal(impatient.port, GET + headers)
    assert (answer.status, answer.headers["connection"]) == (431, "close")
    assert b"at most 100 of them, with 64,000 bytes" in answer.body


@pytest.mark.parametrize("endless", [b"X: y\r\n", b"x"], ids=["headers", "one header"])
def test_an_endless_head_is_ended_before_it_costs_memory(impatient, endless):
    before = begin_new_peak(impatient.pid)
    refusal(impatient.port, GET + b"X-Long: y", *[endless * (MB // len(endless))] * 100)
    assert memory_of(impatient.pid, "VmHWM") - before < 20 * MB
    assert impatient.is_well()


def test_a_url_that_is_too_long_gets_414(impatient):
    with WireClient(impatient.port) as client:
        url = b"/health?" + b"x" * (MOST_URL_BYTES - len(b"/health?"))
        assert ask(client, b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % url).status == 200
    answer = refusal(impatient.port, b"GET %bx HTTP/1.1\r\nHost: localhost\r\n\r\n" % url)
    assert (answer.status, answer.headers["connection"]) == (414, "close")
    before = begin_new_peak(impatient.pid)
    refusal(impatient.port, b"GET /", *[b"x" * MB] * 100)
    assert memory_of(impatient.pid, "VmHWM") - before < 20 * MB


@pytest.mark.parametrize(
    ("path", "kind", "where"),
    [
        ("/v1/chat/completions", "application/json", ("error", "code")),
        ("/v1/messages", "application/json", ("error", "type")),
        ("/api/keys", "application/problem+json", ("code",)),
    ],
)
def test_a_refusal_speaks_the_protocol_of_its_path(impatient, path, kind, where):
    long = f"POST {path} HTTP/1.1\r\nX: {'x' * MOST_HEAD_BYTES}\r\n\r\n".encode()
    answer = refusal(impatient.port, long)
    assert (answer.status, answer.headers["content-type"]) == (431, kind)
    found = orjson.loads(answer.body)
    for name in where:
        found = found[name]
    assert found in ("headers_too_large", "invalid_request_error")
    assert ("x-request-id" in answer.headers) == path.startswith("/v1")


def test_what_is_no_http_gets_400(impatient):
    assert refusal(impatient.port, b"\x16\x03\x01\x02\x00\x01\x00").status == 400


def test_a_flood_of_pipelined_requests_is_not_queued(impatient):
    answers = refusal(impatient.port, (GET + b"\r\n") * 5_000)
    assert 1 <= answers.body.count(b"HTTP/1.1 200 OK") + 1 <= 20
    assert impatient.is_well()


# --- Bodies


def post(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def test_a_body_that_stalls_gets_408(impatient):
    client = WireClient(impatient.port)
    client.send(post("/accounts/login/", "Content-Length: 1000") + b"half")
    begun_at = time.monotonic()
    answer = client.read_to_the_end()
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert BODY_S - 0.2 < time.monotonic() - begun_at < BODY_S + SLACK_S


def test_a_slow_body_at_an_honest_rate_passes(impatient):
    client = WireClient(impatient.port)
    client.send(post("/accounts/login/", "Content-Length: 60000", "Connection: close"))
    begun_at = time.monotonic()
    for _ in range(30):
        client.send(b"x" * 2_000)
        time.sleep(0.1)
    assert time.monotonic() - begun_at > BODY_S, "slower than a body without a rate"
    assert client.read_to_the_end().status == 403, "there is no CSRF token"


def test_the_rest_of_a_body_that_was_answered_early_is_not_waited_for(impatient):
    with WireClient(impatient.port) as client:
        client.send(post("/v1/chat/completions", "Content-Length: 1000") + b"half")
        client.read_until(b"invalid_api_key")
        client.socket.settimeout(0.1)
        eventually(lambda: dribbled(client, b"x"), within_s=HEAD_S + SLACK_S)


def test_a_connection_serves_on_after_the_rest_of_such_a_body(impatient):
    with WireClient(impatient.port) as client:
        client.send(post("/v1/chat/completions", "Content-Length: 8") + b"half")
        client.read_until(b"invalid_api_key")
        assert ask(client, b"half" + GET + b"\r\n").status == 200


CHUNKED = post("/accounts/login/", "Transfer-Encoding: chunked")


@pytest.mark.parametrize(
    "parts",
    [
        [b"1;" + b"x" * MB, *[b"x" * MB] * 99],
        [b"0\r\nX-Trailer: ", *[b"x" * MB] * 100],
        [b"0\r\n", *[b"X-Trailer: y\r\n" * (MB // 14)] * 100],
        [b"1\r\nx\r\n" * (MB // 6)] * 100,
    ],
    ids=["an extension", "a long trailer", "many trailers", "tiny chunks"],
)
def test_chunks_that_are_mostly_framing_are_ended(impatient, parts):
    before = begin_new_peak(impatient.pid)
    sent = []
    with WireClient(impatient.port) as client:
        client.send(CHUNKED)
        for part in parts:
            sent.append(part)
            if not send_unless_ended(client, part):
                break
    assert len(sent) < len(parts), "all of it was read"
    assert memory_of(impatient.pid, "VmHWM") - before < 20 * MB
    assert impatient.is_well()


def test_a_trailer_does_not_become_a_header(impatient):
    head = post("/v1/chat/completions", "Transfer-Encoding: chunked", "Connection: close")
    with WireClient(impatient.port) as client:
        client.send(head + b"1\r\nx\r\n0\r\nAuthorization: Bearer kyma-x\r\n\r\n")
        assert b"No API key given" in client.read_to_the_end().body
