"""Clients that send slowly, send too much, stop reading or go away: what it costs whom."""

import re
import socket
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
import pytest

from gateway.commits import reconcile
from gateway.models import ApiRequest, Model
from gateway.serving.endings import CLIENT_CLOSED_REQUEST
from tests.gateway.conftest import live_route
from tests.support.gateway.wire_client import CHAT, Answer, WireClient
from tests.support.live import USD, Customer, Gateway, eventually
from tests.support.provider.scripts import Bytes, Head, chunk, sse

MOST_BODY_BYTES = 10_000_000
SLOW_CLIENTS = 20
SHORT_TOTAL = {"REQUEST_TOTAL_TIMEOUT_S": "3"}
MB = 1_000_000
PIECE = "x" * 40_000
TORRENT = 400 * MB


@pytest.fixture
def customer(gateway):
    """Somebody with a dollar."""
    return Customer(gateway, unlimited=True)


@pytest.fixture
def torrent(committed, fake):
    """The model "torrent", whose answers may be of any length, and a script for one."""
    route = live_route("torrent", fake.base_url)
    Model.objects.filter(pk=route.model_id).update(context_length=100 * MB)
    piece = Bytes(sse(chunk({"content": PIECE})))
    return fake.script([Head(), *[piece] * (TORRENT // len(PIECE))])


# --- Uploads

ends_slow_uploads = pytest.mark.gateway_with(BODY_TIMEOUT_S="1")


@ends_slow_uploads
def test_uploads_that_dawdle_get_408_and_hold_up_nobody(customer):
    slow = [begin_upload(customer, length=1000) for _ in range(SLOW_CLIENTS)]
    assert customer.ask("Hello?").status_code == 200
    answers = [client.read_to_the_end() for client in slow]
    assert [answer.status for answer in answers] == [408] * SLOW_CLIENTS
    assert error_of(answers[0])["metadata"]["error_type"] == "timeout"
    rows = eventually(customer.requests, lambda rows: len(rows) == SLOW_CLIENTS + 1)
    assert [row.status for row in rows].count(408) == SLOW_CLIENTS
    check_nothing_is_held(customer)


@ends_slow_uploads
def test_an_upload_that_dawdles_byte_by_byte_gets_no_more_time(customer):
    with begin_upload(customer, length=MB) as client:
        client.socket.settimeout(0.05)
        eventually(lambda: trickle(client))
        client.socket.settimeout(5)
        assert client.read_to_the_end().status == 408


def trickle(client: WireClient) -> bytes:
    """Send one byte more; returns what the answer begins with, once there is one."""
    client.send(b" ")
    with suppress(TimeoutError):
        client.received += client.socket.recv(1)
    return client.received


@pytest.mark.parametrize("path", [CHAT, "/v1/messages/count_tokens"])
def test_a_client_that_hangs_up_during_its_upload_is_logged_and_charged_nothing(customer, path):
    begin_upload(customer, length=1000, path=path).socket.close()
    row = customer.settled_request()
    said = (row.outcome, row.status, row.error_type)
    assert said == (ApiRequest.Outcome.CLIENT_GONE, CLIENT_CLOSED_REQUEST, "")
    assert not customer.usage_entries()
    check_nothing_is_held(customer)


def test_more_than_10_mb_is_refused_by_its_head_alone(customer):
    with WireClient(customer.gateway.port) as client:
        client.send_head({**customer.headers, "Content-Length": str(MOST_BODY_BYTES + 1)})
        check_is_too_large(client.read_to_the_end())
    assert customer.settled_request().status == 413


def test_more_than_10_mb_is_refused_when_all_of_it_is_sent(customer):
    answer = customer.post({"messages": "x" * MOST_BODY_BYTES})
    assert answer.status_code == 413


def test_10_mb_are_not_too_much(customer):
    body = {"model": "scripted", "messages": [{"role": "user", "content": ""}]}
    room = MOST_BODY_BYTES - len(orjson.dumps(body))
    body["messages"][0]["content"] = "x" * room
    with WireClient(customer.gateway.port) as client:
        client.post(body, customer.headers)
        error = error_of(client.read_to_the_end())
    assert error["metadata"]["error_type"] == "context_length_exceeded"
    assert customer.settled_request().status == 400


def test_an_upload_without_a_length_is_refused_beyond_10_mb_and_never_kept(customer):
    headers = {**customer.headers, "Connection": "keep-alive", "Transfer-Encoding": "chunked"}
    with WireClient(customer.gateway.port) as client, memory_bounded(customer.gateway, 50 * MB):
        client.send_head(headers)
        for _ in range(100):
            client.send(b"%x\r\n%b\r\n" % (MB, b" " * MB))
        client.socket.shutdown(socket.SHUT_WR)
        check_is_too_large(client.read_to_the_end())
    assert customer.settled_request().status == 413
    check_nothing_is_held(customer)


def begin_upload(customer: Customer, *, length: int, path: str = CHAT) -> WireClient:
    """A client that has sent the head of its request and a part of its body."""
    client = WireClient(customer.gateway.port)
    headers = {"Connection": "keep-alive", "Content-Length": str(length)}
    client.send_head({**customer.headers, **headers}, path)
    client.send(b'{"model": ')
    return client


def check_is_too_large(answer: Answer) -> None:
    assert answer.status == 413
    assert error_of(answer)["metadata"]["error_type"] == "payload_too_large"
    assert str(MOST_BODY_BYTES) in error_of(answer)["message"]


def error_of(answer: Answer) -> dict:
    return orjson.loads(answer.body)["error"]


# --- Readers


@pytest.mark.gateway_with(**SHORT_TOTAL)
def test_a_reader_that_stops_is_cut_off_and_pays_for_what_it_was_sent(gateway, fake, torrent):
    customer = Customer(gateway, balance_nano=100 * USD, unlimited=True)
    with memory_bounded(gateway, 100 * MB):  # The kernel takes some MB, which are logged.
        client = begin_torrent(customer, torrent)
        row = customer.settled_request()
    assert row.outcome == ApiRequest.Outcome.CLIENT_GONE
    assert fake.wait_for_hang_up(torrent)
    answer = client.read_to_the_end()
    assert not answer.is_whole
    assert 0 < row.completion_tokens <= len(answer.text) / 4 + 1
    assert not customer.holds()
    assert list(reconcile.differences(customer.account.id)) == []


def test_a_reader_that_never_comes_back_holds_up_no_drain(committed, torrent):
    with Gateway(**SHORT_TOTAL, HOLD_GRACE_S="1") as gateway:
        customer = Customer(gateway, balance_nano=100 * USD, unlimited=True)
        client = begin_torrent(customer, torrent)
        assert customer.settled_request().outcome == ApiRequest.Outcome.CLIENT_GONE
    client.socket.close()


def begin_torrent(customer: Customer, token: str) -> WireClient:
    """A client that reads the beginning of its stream, and no more."""
    client = WireClient(customer.gateway.port, receive_buffer=4096)
    body = {"model": "torrent", "messages": [{"role": "user", "content": token}]}
    client.post({**body, "stream": True, "max_tokens": TORRENT // 4}, customer.headers)
    client.read_until(PIECE[:1000].encode())
    return client


# --- Looking


@contextmanager
def memory_bounded(gateway: Gateway, most_bytes: int):
    """The process may grow by so much meanwhile, and by no more."""
    before = memory_of(gateway, "VmRSS")
    Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")  # Begin a new peak.
    yield
    assert memory_of(gateway, "VmHWM") - before < most_bytes


def memory_of(gateway: Gateway, what: str) -> int:
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) * 1024


def check_nothing_is_held(customer: Customer) -> None:
    assert customer.held_nano() == 0
    assert not customer.holds()
