"""How a connection to a provider breaks, never comes about, and what it leaves: nothing."""

import asyncio
import contextlib
import datetime as dt
import gc
import ssl
import weakref

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway.providers import connection as provider_connection
from gateway.providers.connection import MAX_HEAD_BYTES, Connection, Unreachable
from tests.support.gateway.faults import deaf_port
from tests.support.gateway.wire_client import Answer
from tests.support.gateway.wire_server import (
    CHUNKED,
    HEAD,
    ONE,
    TWO,
    UNTIL_THE_END,
    Provider,
    Wire,
    chunked,
    close,
    reset,
    sized,
    story,
    turns,
    until,
)
from tests.support.ports import free_port

# --- What breaks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [close, reset])
@pytest.mark.parametrize("answer", [ONE, CHUNKED], ids=["sized", "chunked"])
@story
async def test_an_answer_may_break_off_anywhere(provider, answer, end):
    begun = [answer[:at] for at in range(len(answer))]
    await provider.answers(*([part, end] for part in begun))
    for part in begun:
        assert await provider.ask_in_vain() == Answer.of(part).body
    assert len(provider.wires) == len(begun)


@pytest.mark.parametrize(
    "steps",
    [[ONE[:-1], close], [ONE[:-1], reset], [chunked(b"on")[:-5] + b"zz\r\n"]],
    ids=["closed", "reset", "no HTTP"],
)
@story
async def test_what_came_before_a_break_can_still_be_read(provider, steps):
    hung_up = asyncio.Event()
    await provider.answers([*steps, until(hung_up)])
    connection = await provider.post()
    await turns()  # The break has come too.
    assert await connection.read() == b"on"
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await connection.read()
    connection.end()
    hung_up.set()


@story
async def test_an_answer_until_the_end_may_be_reset(provider):
    await provider.answers([UNTIL_THE_END, reset])
    assert await provider.ask_in_vain() == b"one"


@pytest.mark.parametrize("late", [False, True])
@story
async def test_a_connection_kept_may_break_with_the_next_request(provider, late):
    await provider.answers([ONE], [CHUNKED[:20], close] if late else [reset])
    assert await provider.ask() == b"one"
    assert await provider.ask_in_vain() == b""


NO_HTTP = {
    "another protocol": b"220 SMTP ready\r\n\r\n",
    "zeros": bytes(100),
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "no status": b"HTTP/1.1 abc OK\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\none",
    "no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\none\r\n",
    "a huge size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 17 + b"\r\none",
    "a size too small": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nxyz\r\n0\r\n\r\n",
    "another protocol from here on": b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a plain 101": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
}


@pytest.mark.parametrize("answer", NO_HTTP.values(), ids=NO_HTTP)
@story
async def test_what_is_no_http_ends_the_connection(provider, answer):
    await provider.answers([answer], [TWO])
    assert await provider.ask_in_vain() in (b"", b"xy")
    await provider.wires[0].gone.wait()
    assert await provider.ask() == b"two"


@pytest.mark.parametrize(
    "begun",
    [
        HEAD,
        HEAD + b"Content-Length: 3\r\nX: ",
        b"HTTP/1.1 103 Hints\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
    ],
    ids=["head", "value", "hints", "trailers"],
)
@pytest.mark.parametrize("line", [b"X-Filler: " + b"x" * 1000 + b"\r\n", b"x" * 1000])
@story
async def test_a_head_has_to_end_and_so_have_trailers(provider, begun, line):
    async def endlessly(wire: Wire) -> None:
        while True:
            await wire.send(line)

    await provider.answers([begun, endlessly])
    assert await provider.ask_in_vain() == b""
    await provider.wires[0].gone.wait()


@story
async def test_a_head_may_be_this_long(provider):
    short, long = (sized(b"one", x="x" * (MAX_HEAD_BYTES + by)) for by in (-200, 1))
    await provider.answers([short], [long])
    assert await provider.ask() == b"one"
    assert await provider.ask_in_vain() == b""


# --- No connection -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{port}/v1", "http://nowhere.invalid/v1", f"http://{'a' * 64}.invalid/v1"],
    ids=["refused", "unknown", "impossible"],
)
@story
async def test_a_provider_that_is_not_there_is_unreachable(provider, url):
    with pytest.raises(Unreachable):
        await provider.pool.post(url.format(port=free_port()), None, b"{}")


@story
async def test_a_provider_that_does_not_answer_the_door_is_unreachable(provider, settings):
    settings.UPSTREAM_CONNECT_TIMEOUT_S = 0.05
    with deaf_port() as url, pytest.raises(Unreachable):
        await provider.pool.post(url, None, b"{}")


# --- TLS -----------------------------------------------------------------------------------------


def _signed_by_itself(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """What says that it is "localhost", and nothing about 127.0.0.1."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A file with the certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + _signed_by_itself(key).public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def tls(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    provider_connection._tls.cache_clear()
    yield
    provider_connection._tls.cache_clear()


def _by_name(provider: Provider) -> None:
    provider.url = provider.url.replace("127.0.0.1", "localhost")


@story
async def test_a_certificate_that_is_trusted_serves(provider, tls, trusted):
    long = bytes(range(256)) * 10_000
    await provider.answers([ONE], [sized(long)], [CHUNKED], tls=tls)
    _by_name(provider)
    assert [await provider.ask(), await provider.ask()] == [b"one", long]
    assert await provider.ask(long) == b"data: 1\n\ndata: 2\n\n"
    assert provider.heard[2].endswith(long)
    assert len(provider.wires) == 1


@story
async def test_a_certificate_that_nobody_knows_is_unreachable(provider, tls):
    await provider.answers([ONE], tls=tls)
    _by_name(provider)
    with pytest.raises(Unreachable):
        await provider.ask()
    assert provider.heard == []


@story
async def test_a_certificate_of_another_name_is_unreachable(provider, tls, trusted):
    await provider.answers([ONE], tls=tls)
    with pytest.raises(Unreachable):
        await provider.ask()
    assert provider.heard == []


@story
async def test_a_provider_without_tls_is_unreachable_with_it(provider, settings):
    settings.UPSTREAM_CONNECT_TIMEOUT_S = 0.05
    await provider.answers([ONE])  # To a head, and the beginning of TLS is none.
    provider.url = provider.url.replace("http:", "https:")
    with pytest.raises(Unreachable):
        await provider.ask()
    await provider.wires[0].gone.wait()


@pytest.mark.parametrize("answer", [ONE, CHUNKED], ids=["sized", "chunked"])
@pytest.mark.parametrize("end", [close, reset])
@story
async def test_an_answer_in_tls_may_break_off_too(provider, tls, trusted, answer, end):
    begun = [answer[:20], answer[:-1]]
    await provider.answers(*([part, end] for part in begun), tls=tls)
    _by_name(provider)
    for part in begun:
        assert await provider.ask_in_vain() == Answer.of(part).body


@story
async def test_an_answer_in_tls_that_is_given_up_ends_its_connection(provider, tls, trusted):
    await provider.answers([ONE[:-1]], tls=tls)
    _by_name(provider)
    connection = await provider.post()
    assert await connection.read() == b"on"
    connection.end()
    await provider.wires[0].gone.wait()


# --- Garbage -------------------------------------------------------------------------------------


@pytest.fixture
def uncollected():
    gc.disable()
    gc.freeze()  # What other tests have left is no concern of this one.
    yield
    gc.unfreeze()
    gc.enable()


async def _broken(provider: Provider) -> weakref.ref[Connection]:
    connection = await provider.post()
    with contextlib.suppress(ConnectionError):
        while await connection.read():
            pass
    connection.end()
    return weakref.ref(connection)


@pytest.mark.parametrize(
    "steps",
    [
        [ONE[:-1], close],
        [ONE[:-1], reset],
        [CHUNKED[:-1] + b"x"],
        [ONE, close],
        [ONE + b"x"],
        [UNTIL_THE_END, close],
    ],
    ids=["closed", "reset", "no HTTP", "whole, then closed", "more than whole", "until the end"],
)
@story
async def test_a_connection_that_has_ended_leaves_no_cycle(provider, uncollected, steps):
    await provider.answers(steps)
    gone = await _broken(provider)
    await provider.wires[0].gone.wait()
    await turns()
    provider.pool.close()
    assert gone() is None


async def _not_begun(provider: Provider) -> None:
    with contextlib.suppress(ConnectionError):
        await provider.post()


@story
async def test_answers_leave_no_cycles(provider, uncollected):
    await provider.answers([CHUNKED], [ONE], [HEAD + b"x", reset], [b"x"])
    await provider.ask()
    await provider.ask()
    await _not_begun(provider)
    await _not_begun(provider)
    await provider.wires[-1].gone.wait()
    await turns()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    kinds = (Connection, asyncio.Future, BaseException)
    left = [one for one in gc.garbage if issubclass(type(one), kinds)]
    gc.set_debug(0)
    gc.garbage.clear()
    assert left == []
