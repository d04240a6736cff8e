"""Each step of a script arrives as it says, to the byte, on connections that last."""

import asyncio
import re

import orjson
import pytest
import requests

from tests.support.provider import wire as provider_wire
from tests.support.provider.client import ask, chat_body, raw_client
from tests.support.provider.fake import FakeProvider
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
    Split,
    WaitFor,
    answer,
    error,
    stream,
)

PLAIN = {"content-length": "2"}


@pytest.fixture(scope="module")
def fake():
    with FakeProvider() as server:
        yield server


def raw_answer(fake, steps):
    """All that a client reads of `steps`, which close the connection."""
    with raw_client(fake, fake.script(steps)) as client:
        return client.read_to_close()


# Bytes


def test_a_chunked_script_is_exact_to_the_byte(fake):
    steps = [Head(200, {"X-Odd": "Yes"}), Bytes(b"ab"), Event({"a": 1}), Done(), End()]
    with raw_client(fake, fake.script(steps)) as client:
        assert client.read_until(b"\r\n0\r\n\r\n") == (
            b"HTTP/1.1 200 OK\r\nX-Odd: Yes\r\ntransfer-encoding: chunked\r\n\r\n"
            b'2\r\nab\r\nf\r\ndata: {"a":1}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n'
        )


def test_a_head_without_headers_opens_an_event_stream(fake):
    head = raw_answer(fake, [Head(), Close()])
    assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")


def test_a_content_length_makes_the_body_plain(fake):
    steps = [Head(201, PLAIN), Bytes(b"o"), Bytes(b"k"), End()]
    with raw_client(fake, fake.script(steps)) as client:
        expected = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok"
        assert client.read_until(b"ok") == expected


def test_raw_bytes_have_no_framing(fake):
    seen = raw_answer(fake, [RawBytes(b"HTTP/9 nonsense\r\n"), RawBytes(b"zz\r\n"), Close()])
    assert seen == b"HTTP/9 nonsense\r\nzz\r\n"


def test_an_interim_head_precedes_the_real_one(fake):
    token = fake.script([Head(103, {"link": "x"}), Head(204, {}), End()])
    with raw_client(fake, token) as client:
        assert client.read_until(b"204 No Content\r\n\r\n").startswith(
            b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 204"
        )


def test_headers_may_repeat_and_statuses_may_be_unheard_of(fake):
    twice = [("set-cookie", "a"), ("set-cookie", "b"), ("content-length", "0")]
    seen = raw_answer(fake, [Head(529, twice, reason="Overloaded"), Close()])
    assert seen.startswith(b"HTTP/1.1 529 Overloaded\r\nset-cookie: a\r\nset-cookie: b\r\n")


def test_a_split_sends_each_piece_as_a_chunk(fake):
    text = "ünï".encode()
    steps = [Head(200, {}), Split(text, every=1), Split(b"abcdef", [1, 2], gap_s=0.001), Close()]
    body = raw_answer(fake, steps).partition(b"\r\n\r\n")[2]

    pieces = [text[at : at + 1] for at in range(len(text))] + [b"a", b"bc", b"def"]
    assert body == b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def test_a_raw_split_makes_a_write_of_each_piece():
    seen = []

    class Writer:
        write = staticmethod(seen.append)

        async def drain(self):
            seen.append("drained")

        def close(self):
            seen.append("closed")

    steps = [Split(b"2\r\nab\r\n", sizes=[1, 3], raw=True), Close()]
    asyncio.run(provider_wire.Response(Writer()).play(steps))
    assert seen == [b"2", "drained", b"\r\na", "drained", b"b\r\n", "drained", "closed"]


def test_an_empty_chunk_does_not_end_the_body(fake):
    body = raw_answer(fake, [Head(200, {}), Bytes(b""), Bytes(b"a"), Close()])
    assert body.endswith(b"\r\n\r\n1\r\na\r\n")


# How bodies end


def test_a_reset_reaches_the_client_after_the_bytes_before_it(fake):
    token = fake.script([Head(), Bytes(b"part"), Reset()])
    with raw_client(fake, token) as client:
        with pytest.raises(ConnectionResetError):
            client.read_to_close()
        assert client.seen.endswith(b"4\r\npart\r\n")
    assert fake.wait_for_finish(token).hung_up_at is None


@pytest.mark.parametrize("ending", [[Close()], []], ids=["close", "end of the script"])
def test_a_close_leaves_the_chunked_body_open(fake, ending):
    token = fake.script([Head(), Bytes(b"part"), *ending])
    with raw_client(fake, token) as client:
        assert client.read_to_close().endswith(b"4\r\npart\r\n")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ask(fake, token)


def test_a_body_shorter_than_its_content_length_closes_the_connection(fake):
    assert raw_answer(fake, [Head(200, PLAIN), Bytes(b"o"), End()]).endswith(b"\r\n\r\no")


# Connections


def test_many_requests_share_a_connection(fake):
    token = fake.script_attempts([stream("a"), answer("b"), error(500)])
    with requests.Session() as session:
        url = f"{fake.base_url}/chat/completions"
        for prompt in [token, "no script", token, token] * 10:
            session.post(url, json=chat_body(prompt), timeout=10)
    assert len({call.connection for call in fake.calls(token)}) == 1


def test_requests_sent_ahead_are_answered_in_order(fake):
    token = fake.script_attempts([[Head(200, PLAIN), Bytes(b"%d!" % n), End()] for n in range(3)])
    with raw_client(fake) as client:
        for _ in range(3):
            client.send(token)
        bodies = re.findall(rb"\r\n\r\n(..)", client.read_until(b"2!"))
    assert bodies == [b"0!", b"1!", b"2!"]


@pytest.mark.parametrize("prompt", ["no script", "script"])
def test_a_client_that_asks_for_it_gets_the_connection_closed(fake, prompt):
    body = orjson.dumps(chat_body(fake.script(answer("x")) if prompt == "script" else prompt))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nConnection: close\r\nContent-Length: {len(body)}"
    with raw_client(fake) as client:
        client.socket.sendall(head.encode() + b"\r\n\r\n" + body)
        assert client.read_to_close().startswith(b"HTTP/1.1 200 OK")


def test_a_head_that_says_close_is_followed_by_one(fake):
    steps = [Head(200, {"Connection": "close"} | PLAIN), Bytes(b"ok"), End()]
    with raw_client(fake, fake.script(steps)) as client:
        assert client.read_to_close().endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(
    "junk",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    ],
)
def test_a_request_that_is_not_understood_ends_the_connection(fake, junk):
    with raw_client(fake) as client:
        client.socket.sendall(junk)
        assert client.read_to_close() == b""


def test_large_bodies_arrive_whole(fake):
    token = fake.script(answer("ok"))
    prompt = "x" * 5_000_000 + token
    ask(fake, prompt)
    assert fake.calls(token)[0].json["messages"][0]["content"] == prompt


def test_a_client_that_waits_for_100_continue_gets_it(fake):
    with raw_client(fake) as client:
        head = "POST /v1/embeddings HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n"
        client.socket.sendall(head.encode())
        client.read_until(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.socket.sendall(b'{"input":""}')
        client.read_until(b"}}")


# Waiting


def test_nothing_passes_a_wait_before_the_go(fake):
    token = fake.script([Head(), Bytes(b"one"), WaitFor("two"), Bytes(b"two"), End()])
    with raw_client(fake, token) as client:
        client.read_until(b"one\r\n")
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)
        client.socket.settimeout(10)
        fake.go(token, "two")
        assert client.read_until(b"0\r\n\r\n") == b"3\r\ntwo\r\n0\r\n\r\n"


def test_a_go_may_come_before_the_wait(fake):
    token = fake.script([WaitFor("go"), *answer("went")])
    fake.go(token, "go")
    assert "went" in ask(fake, token).text


def test_a_go_that_never_comes_resets_the_connection_and_is_told(fake, monkeypatch):
    monkeypatch.setattr(provider_wire, "WAIT_FOR_DEADLINE_S", 0.01)
    token = fake.script([WaitFor("godot"), *answer("never")])
    with raw_client(fake, token) as client, pytest.raises(ConnectionResetError):
        client.read_to_close()
    [call] = fake.calls(token)
    assert (call.finished, call.hung_up_at) == (False, None)
    assert "no go for 'godot'" in call.failure


def test_a_step_that_cannot_be_played_resets_the_connection_and_is_told(fake):
    token = fake.script([Head(), Event({"not json": object()}), End()])
    with raw_client(fake, token) as client, pytest.raises(ConnectionResetError):
        client.read_to_close()
    assert "not JSON serializable" in fake.calls(token)[0].failure


def test_silence_lasts_until_it_is_released(fake):
    token = fake.script([Silence(), *answer("spoke")])
    with raw_client(fake, token) as client:
        fake.wait_for_calls(token)
        fake.release(token)
        client.read_until(b"}}")
    assert fake.wait_for_finish(token).hung_up_at is None


def test_silence_ends_by_itself_after_its_time(fake):
    assert "spoke" in ask(fake, fake.script([Silence(0.01), *answer("spoke")])).text
