"""HTTP/1.1 to providers, against a real server, in the loops of asyncio and of production."""

import asyncio
import contextlib

import pytest

from gateway.providers import connection as provider_connection
from gateway.providers.connection import MAX_WAITING_BYTES
from gateway.providers.upstream import EventStream
from tests.support.gateway.wire_server import (
    CHUNKED,
    HEAD,
    ONE,
    TWO,
    UNTIL_THE_END,
    Wire,
    chunked,
    close,
    forever,
    rest_of,
    sized,
    story,
    turns,
    until,
)

HEADERS = {
    b"User-Agent: Kyma",
    b"Accept: */*",
    b"Accept-Encoding: identity",
    b"Content-Type: application/json",
}


# --- What is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "more"), [(None, set()), ("", set()), ("sk-1 2", {b"Authorization: Bearer sk-1 2"})]
)
@story
async def test_a_request_says_this_and_nothing_more(provider, key, more):
    await provider.answers([ONE])
    assert await provider.ask(b'{"a": 1}', key=key) == b"one"
    head, body = provider.heard[0].split(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert first == b"POST /v1/chat HTTP/1.1"
    host = b"Host: 127.0.0.1:%d" % provider.port
    assert sorted(lines) == sorted(HEADERS | more | {host, b"Content-Length: 8"})
    assert body == b'{"a": 1}'


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://provider.example/v1", "provider.example"),
        ("https://provider.example:8443/v1", "provider.example:8443"),
        ("http://[2001:db8::1]/v1", "[2001:db8::1]"),
        ("http://[::1]:8000/v1", "[::1]:8000"),
        ("https://bücher.example/v1", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_named_so(url, host):
    _, head = provider_connection.request_head(url, None)
    assert f"\r\nHost: {host}\r\n".encode() in head


@story
async def test_a_path_is_written_in_ascii(provider):
    await provider.answers([ONE])
    provider.url += "/modèles/a b/c%20d"
    assert await provider.ask() == b"one"
    assert provider.heard[0].startswith(b"POST /v1/chat/mod%C3%A8les/a%20b/c%20d HTTP/1.1\r\n")


@pytest.mark.parametrize("key", ["sk\r\nX-Odd: 1", "sk\n", "sk\r", "sk\0", "schlüssel"])
@story
async def test_a_key_that_no_header_can_hold_goes_nowhere(provider, key):
    await provider.answers([ONE])
    with pytest.raises(ConnectionError):
        await provider.ask(key=key)
    assert await provider.ask() == b"one"
    assert len(provider.heard) == 1


@story
async def test_a_long_request_arrives_whole(provider):
    await provider.answers([ONE], [TWO])
    body = bytes(range(256)) * 40_000
    assert [await provider.ask(body), await provider.ask()] == [b"one", b"two"]
    assert provider.heard[0].endswith(b"\r\n\r\n" + body)
    assert len(provider.wires) == 1


# --- What is answered ----------------------------------------------------------------------------

LASTING = {
    "sized": (ONE, b"one"),
    "chunked": (CHUNKED, b"data: 1\n\ndata: 2\n\n"),
    "chunked with all there is": (
        HEAD + b"transfer-encoding: Chunked\r\n\r\n"
        b'00A;a="b"\r\n0123456789\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n',
        b"0123456789x",
    ),
    "nothing": (sized(b""), b""),
    "nothing in chunks": (chunked(), b""),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "hints": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + ONE,
        b"one",
    ),
    "an upgrade offered": (sized(b"one", upgrade="h2c", connection="Upgrade, Keep-Alive"), b"one"),
}
LAST = {
    "until the end": (UNTIL_THE_END, b"one"),
    "closing": (sized(b"one", connection="Close"), b"one"),
    "closing, among others": (sized(b"one", connection="x-odd, close"), b"one"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none", b"one"),
    "HTTP/1.0 until the end": (b"HTTP/1.0 200 OK\r\n\r\none", b"one"),
}


@pytest.mark.parametrize(("answer", "body"), LASTING.values(), ids=LASTING)
@story
async def test_wherever_it_is_cut_an_answer_is_the_same(provider, answer, body):
    cuts = [[answer[:at], answer[at:]] for at in range(1, len(answer))]
    byte_by_byte = [answer[at : at + 1] for at in range(len(answer))]
    await provider.answers(*cuts, byte_by_byte)
    for _ in range(len(answer)):
        assert await provider.ask() == body
    assert len(provider.wires) == 1


@pytest.mark.parametrize(("answer", "body"), LAST.values(), ids=LAST)
@story
async def test_wherever_it_is_cut_a_last_answer_is_the_same(provider, answer, body):
    cuts = [[answer[:at], answer[at:], close] for at in range(1, len(answer))]
    await provider.answers(*cuts)
    for _ in cuts:
        assert await provider.ask() == body
    assert len(provider.wires) == len(cuts)


@pytest.mark.parametrize(("answer", "body"), LAST.values(), ids=LAST)
@story
async def test_a_last_answer_is_the_last_even_if_the_provider_waits(provider, answer, body):
    is_sized = b"ontent-" in answer
    await provider.answers([answer] if is_sized else [answer, close], [TWO])
    assert await provider.ask() == body
    await provider.wires[0].gone.wait()
    assert await provider.ask() == b"two"
    assert len(provider.wires) == 2


@story
async def test_headers_are_found_in_any_case(provider):
    head = (
        b"HTTP/1.1 429 Too Many\r\nRETRY-after:  7 \r\nX-Odd: caf\xe9\r\nContent-Length: 0\r\n\r\n"
    )
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    await provider.answers([hint + head])
    connection = await provider.post()
    assert connection.status == 429
    assert connection.header(b"retry-after") == "7"
    assert connection.header(b"x-odd") == "café"
    assert connection.header(b"link") == ""
    connection.end()


@story
async def test_trailers_are_no_headers(provider):
    trailer = b"0\r\nRetry-After: 7\r\nContent-Type: text/html\r\n\r\n"
    head = HEAD + b"Content-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
    await provider.answers([head + trailer])
    connection = await provider.post()
    assert await rest_of(connection) == b""
    assert connection.header(b"content-type") == "a/b"
    assert connection.header(b"retry-after") == ""
    connection.end()


@story
async def test_the_head_is_there_before_the_body_and_each_part_before_the_next(provider):
    first, more = asyncio.Event(), asyncio.Event()
    at = CHUNKED.index(b"9\r\n")
    await provider.answers(
        [CHUNKED[:at], until(first), CHUNKED[at : at + 14], until(more), CHUNKED[at + 14 :]]
    )
    connection = await provider.post()
    assert connection.status == 200
    first.set()
    assert await connection.read() == b"data: 1\n\n"
    more.set()
    assert await rest_of(connection) == b"data: 2\n\n"
    connection.end()


@story
async def test_a_provider_may_answer_what_it_does_not_read(provider):
    provider.deaf = True
    await provider.answers([ONE, forever], [TWO])
    assert await provider.ask(bytes(20_000_000)) == b"one"
    assert await provider.ask() == b"two"
    assert len(provider.wires) == 2


# --- Which connection ----------------------------------------------------------------------------


@story
async def test_two_at_once_have_a_connection_each(provider):
    both = asyncio.Event()
    await provider.answers([until(both), ONE], [until(both), ONE], [TWO], [TWO])
    asking = [asyncio.create_task(provider.ask()) for _ in range(2)]
    await provider.is_asked(2)
    both.set()
    assert await asyncio.gather(*asking) == [b"one", b"one"]
    assert [await provider.ask(), await provider.ask()] == [b"two", b"two"]
    assert len(provider.wires) == 2


@story
async def test_a_connection_ended_twice_is_kept_once(provider):
    both = asyncio.Event()
    await provider.answers([ONE], [until(both), TWO], [until(both), TWO])
    connection = await provider.post()
    assert await rest_of(connection) == b"one"
    connection.end()
    connection.end()
    asking = [asyncio.create_task(provider.ask()) for _ in range(2)]
    await provider.is_asked(3)
    both.set()
    assert await asyncio.gather(*asking) == [b"two", b"two"]


@story
async def test_a_stream_closed_again_leaves_the_next_one_alone(provider):
    ends = asyncio.Event()
    await provider.answers([CHUNKED], [TWO[:-1], until(ends), TWO[-1:]])
    stream = EventStream(await provider.post())
    assert await stream.read(1) == [b"1", b"2"]
    stream.close()
    following = await provider.post()
    stream.close()
    ends.set()
    assert await rest_of(following) == b"two"
    assert len(provider.wires) == 1


@pytest.mark.parametrize(
    "answer",
    [ONE[:-1], CHUNKED[:-1], ONE[:-3], UNTIL_THE_END, sized(bytes(3 * MAX_WAITING_BYTES))],
    ids=["sized", "chunked", "a head", "until the end", "more than may wait"],
)
@story
async def test_what_has_not_come_to_its_end_is_ended(provider, answer):
    await provider.answers([answer], [TWO])
    connection = await provider.post()
    connection.end()
    await provider.wires[0].gone.wait()
    assert await provider.ask() == b"two"


@pytest.mark.parametrize("size", [3, MAX_WAITING_BYTES + 9])
@story
async def test_what_was_left_unread_is_nobody_elses(provider, size):
    sent = asyncio.Event()

    async def all_is_sent(wire: Wire) -> None:
        sent.set()

    await provider.answers([sized(bytes(size)), all_is_sent], [TWO])
    connection = await provider.post()
    await sent.wait()
    connection.end()
    assert await provider.ask() == b"two"


@pytest.mark.parametrize("surplus", [b"x", ONE, b"HTTP/1.1 100 Continue\r\n\r\n", bytes(9)])
@pytest.mark.parametrize("answer", [ONE, chunked(b"one"), b"HTTP/1.1 204 No Content\r\n\r\n"])
@pytest.mark.parametrize("late", [False, True])
@story
async def test_what_comes_behind_an_answer_ends_the_connection(provider, answer, surplus, late):
    asked_again = asyncio.Event()
    packets = [answer, until(asked_again), surplus] if late else [answer + surplus]
    await provider.answers(packets, [TWO])
    assert await provider.ask() in (b"one", b"")
    asked_again.set()
    await provider.wires[0].gone.wait()
    assert await provider.ask() == b"two"
    assert len(provider.wires) == 2


# --- Who doesn't wait ----------------------------------------------------------------------------


@story
async def test_a_request_that_is_given_up_ends_its_connection(provider):
    await provider.answers([ONE[:20]])
    asking = asyncio.create_task(provider.post())
    await provider.is_asked(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await provider.wires[0].gone.wait()


@story
async def test_a_request_that_is_given_up_is_not_sent_to_its_end(provider):
    given_up, rest = asyncio.Event(), asyncio.Queue[int]()

    async def take_the_rest(wire: Wire) -> None:
        size = 0
        with contextlib.suppress(ConnectionError):
            while part := await wire.reader.read(2**20):
                size += len(part)
        rest.put_nowait(size)

    provider.deaf = True
    await provider.answers([until(given_up), take_the_rest])
    asking = asyncio.create_task(provider.post(bytes(50_000_000)))
    await provider.is_asked(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    given_up.set()
    assert await rest.get() < 50_000_000


@story
async def test_an_answer_that_is_given_up_ends_its_connection(provider):
    await provider.answers([ONE[:-1]])
    connection = await provider.post()
    assert await connection.read() == b"on"
    reading = asyncio.create_task(connection.read())
    await turns()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    connection.end()
    await provider.wires[0].gone.wait()


@pytest.mark.parametrize("after_turns", range(6))
@story
async def test_a_read_that_is_given_up_loses_nothing(provider, after_turns):
    more = asyncio.Event()
    await provider.answers([ONE[:-1], until(more), ONE[-1:]])
    connection = await provider.post()
    parts = [await connection.read()]
    reading = asyncio.create_task(connection.read())
    await turns()
    more.set()
    for _ in range(after_turns):
        await asyncio.sleep(0)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        parts.append(await reading)
    parts.append(await rest_of(connection))
    assert b"".join(parts) == b"one"
    connection.end()


# --- Who waits -----------------------------------------------------------------------------------

PIECE = bytes(range(256)) * 256
MANY = 800


@pytest.mark.parametrize("is_sized", [True, False])
@story
async def test_a_provider_waits_for_the_reader(provider, is_sized):
    sent = 0

    async def pour(wire: Wire) -> None:
        nonlocal sent
        for _ in range(MANY):
            await wire.send(PIECE)
            sent += len(PIECE)

    head = HEAD + (b"Content-Length: %d\r\n" % (MANY * len(PIECE)) if is_sized else b"") + b"\r\n"
    await provider.answers([head, pour] if is_sized else [head, pour, close], [TWO])
    connection = await provider.post()
    seen = -1
    while seen < sent:
        seen = sent
        await asyncio.sleep(0.1)  # In which a reader would have taken much.
    assert sent < MANY * len(PIECE) / 2
    first = await connection.read()
    assert MAX_WAITING_BYTES < len(first) <= MAX_WAITING_BYTES + 2**18
    assert first + await rest_of(connection) == PIECE * MANY
    connection.end()
    assert await provider.ask() == b"two"
    assert len(provider.wires) == (1 if is_sized else 2)
