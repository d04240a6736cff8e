"""How many connections, or requests behind proxies, one address may have without a key."""

import contextlib
from contextlib import ExitStack

import pytest
from django.test import Client

from gateway.access.client_address import client_of
from kyma.connections import strangers
from tests.support.doors import CONNECTIONS, is_open
from tests.support.gateway.wire_client import WireClient
from tests.support.live import Customer, eventually

GET_KEY = "GET /v1/key HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n"


@pytest.fixture
def customer(impatient):
    return Customer(impatient, unlimited=True)


def connections(stack: ExitStack, port: int, count: int) -> list[WireClient]:
    return [stack.enter_context(WireClient(port)) for _ in range(count)]


def show_key(client: WireClient, customer: Customer) -> None:
    client.received = b""
    client.send(GET_KEY.format(customer.key_text).encode())
    client.read_until(b'"label"')


def test_the_surplus_of_silent_connections_is_ended_at_once_the_oldest_first(impatient):
    with ExitStack() as stack:
        opened = connections(stack, impatient.port, CONNECTIONS + 10)
        eventually(lambda: [is_open(one) for one in opened[:10]], lambda open_: not any(open_))
        assert all(is_open(one) for one in opened[10:])
        assert impatient.is_well()


def test_connections_that_have_shown_a_key_are_not_counted(impatient, customer):
    with ExitStack() as stack:
        known = connections(stack, impatient.port, CONNECTIONS)
        for one in known:
            show_key(one, customer)
        connections(stack, impatient.port, CONNECTIONS + 10)
        for one in known:
            show_key(one, customer)


def test_connections_of_a_signed_in_person_are_not_counted(impatient, customer):
    client = Client()
    client.force_login(customer.user)
    session = client.cookies["sessionid"].value
    page = (
        f"GET /settings/privacy HTTP/1.1\r\nHost: localhost\r\nCookie: sessionid={session}\r\n\r\n"
    )
    with ExitStack() as stack:
        known = connections(stack, impatient.port, CONNECTIONS)
        for one in known:
            one.send(page.encode())
            one.read_until(b"</html>")
            one.received = b""
        connections(stack, impatient.port, CONNECTIONS + 10)
        assert all(map(is_open, known[1:]))


def test_a_key_is_served_during_a_flood_of_silent_connections(impatient, customer):
    with ExitStack() as stack:
        for _ in range(3):
            connections(stack, impatient.port, CONNECTIONS)
            show_key(stack.enter_context(WireClient(impatient.port)), customer)


def test_a_wrong_key_changes_nothing(impatient):
    with ExitStack() as stack:
        opened = connections(stack, impatient.port, CONNECTIONS + 10)
        for one in opened:
            with contextlib.suppress(ConnectionError):
                one.send(GET_KEY.format("kyma-wrong").encode())
        eventually(lambda: sum(map(has_ended, opened)), lambda ended: ended >= 10)


def has_ended(client: WireClient) -> bool:
    """Return True if the server has ended the connection, whatever it has sent before."""
    client.socket.settimeout(0.01)
    try:
        while part := client.socket.recv(65536):
            client.received += part
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


class Waiting:
    def __init__(self, *, is_waiting: bool):
        self.is_waiting = is_waiting
        self.has_ended = False

    def end(self) -> None:
        self.has_ended = True


def test_half_bodies_lock_out_nobody(impatient, customer):
    half = b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\nhalf"
    with ExitStack() as stack:
        for one in connections(stack, impatient.port, CONNECTIONS):
            one.send(half)
        show_key(stack.enter_context(WireClient(impatient.port)), customer)


def test_what_is_being_served_is_never_ended_for_another(settings):
    settings.CONNECTIONS_PER_ADDRESS = 2
    counted = strangers.Strangers()
    served, waiting, late, latest = (Waiting(is_waiting=n == 1) for n in range(4))
    assert counted.add("a", served)
    assert counted.add("a", waiting)
    assert counted.add("a", late)
    assert [one.has_ended for one in (served, waiting, late)] == [False, True, False]
    assert not counted.add("a", latest)
    assert counted.add("b", latest), "another address"
    counted.remove("a", served)
    assert counted.add("a", waiting)


# --- Behind proxies


def scope_of(*forwarded: str) -> dict:
    headers = [(b"x-forwarded-for", one.encode()) for one in forwarded]
    return {"client": ("10.0.0.1", 1), "headers": headers, "path": "/", "type": "http"}


def test_behind_a_proxy_each_client_has_its_own_requests(settings):
    settings.TRUSTED_PROXY_COUNT, settings.CONNECTIONS_PER_ADDRESS = 1, 2
    with ExitStack() as stack:
        admit = lambda *given: stack.enter_context(strangers.counted(scope_of(*given)))  # noqa: E731
        assert [admit("192.0.2.1") for _ in range(3)] == [True, True, False]
        assert not admit("192.0.2.9, 192.0.2.1"), "what a client claims counts nothing"
        assert admit("192.0.2.2")
    with strangers.counted(scope_of("192.0.2.1")) as is_admitted:
        assert is_admitted, "the others have ended"


def test_behind_a_proxy_a_request_with_a_key_counts_no_longer(settings):
    settings.TRUSTED_PROXY_COUNT, settings.CONNECTIONS_PER_ADDRESS = 1, 1
    first = scope_of("192.0.2.1")
    with strangers.counted(first) as is_admitted:
        assert is_admitted
        first[strangers.VOUCH]()
        with strangers.counted(scope_of("192.0.2.1")) as is_admitted:
            assert is_admitted


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_one_client_has_all_of_a_64(address, client):
    assert client_of(address) == client
