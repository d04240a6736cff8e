"""kill -9 under load: whoever has a complete answer has paid for it once, and nobody else has.

Each round has customers of its own and ends with a gateway that serves again. The moments are
random; what chose them is printed, and KILL_SEED repeats it.
"""

import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from accounts.models import ApiKey
from gateway.models import ApiRequest
from tests.support.counts import counts
from tests.support.gateway.kills import (
    _mortal_process,
    chance,
    check_books_of,
    killed,
    mortal,
    sweep,
)
from tests.support.gateway.wire_client import Answer, WireClient
from tests.support.live import Customer, Gateway, eventually
from tests.support.provider.scripts import Done, Pause, WaitFor, answer, either, stream, usage_of

__all__ = ["_mortal_process", "chance", "mortal"]

CLIENTS = 16
CUSTOMERS = 4
PIECES = ["Every ", "answer ", "that ", "is ", "complete ", "has ", "its ", "receipt."]
LARGE = "x" * 40_000
SMALL_BUFFER = 4096
PACE_S = 0.004
MOST_ANSWERS = 80  # before the kill


@pytest.mark.parametrize("rounds", counts(2, proof=15, endurance=60))
def test_a_kill_at_any_moment_leaves_no_answer_unpaid_and_no_payment_unanswered(
    mortal, fake, chance, rounds
):
    seen = Counter()
    for _ in range(rounds):
        seen += kill_under_load(mortal, fake, chance)
    print(dict(seen))
    assert seen["whole"] >= rounds
    assert seen["cut short"] >= rounds


@pytest.mark.parametrize("rounds", counts(1, proof=8, endurance=30))
def test_a_kill_while_answers_are_settled_is_no_exception(mortal, fake, chance, rounds):
    seen = Counter()
    for _ in range(rounds):
        seen += kill_while_settling(mortal, fake, chance)
    print(dict(seen))
    assert seen["whole"] + seen["cut short"] == rounds * CLIENTS


def test_a_kill_leaves_no_slow_reader_charged_for_what_it_cannot_get_any_more(mortal, fake, chance):
    """Of answers about as long as the kernel takes, some end where it takes no more."""
    customer = Customer(mortal, unlimited=True)
    ApiKey.objects.filter(pk=customer.key.pk).update(retention_days=0)  # Megabytes take a while.
    wanted = answers_about_as_long_as(kernel_takes())
    with killed(mortal, clients=CLIENTS):
        clients = [begin_and_stop_reading(customer, fake, pieces) for pieces in wanted]
        for client in clients:
            client.received = client.socket.recv(1)  # The answer has begun.
        eventually(customer.usage_entries, lambda entries: len(entries) >= len(clients) // 4)
        time.sleep(chance.uniform(0.2, 0.6))
    received = [
        Received(customer, client.read_to_the_end(), pieces)
        for client, pieces in zip(clients, wanted, strict=True)
    ]
    sweep()
    assert len(customer.usage_entries()) < len(clients)
    check_books(customer, received)


def answers_about_as_long_as(size: int) -> list[list[str]]:
    """Some whole, in one piece, and some as streams of many."""
    whole = [["x" * (size + step * 4096)] for step in range(-4, 6)]
    streamed = [[LARGE] * (size // len(LARGE) + step) for step in range(-4, 4)]
    return whole + streamed


def begin_and_stop_reading(customer: Customer, fake, pieces: list[str]) -> WireClient:
    """A client who gets its answer as a stream if it has several pieces, and takes none of it."""
    plain = answer("".join(pieces), prompt_tokens=10, completion_tokens=len(pieces))
    token = fake.script(either(stream(pieces, usage=usage_of(10, len(pieces))), plain))
    client = WireClient(customer.gateway.port, receive_buffer=SMALL_BUFFER)
    client.post(body_of(token, streamed=len(pieces) > 1), customer.headers)
    return client


def body_of(token: str, *, streamed: bool) -> dict:
    body = {"model": "scripted", "messages": [{"role": "user", "content": token}]}
    wants_usage = {"stream": True, "stream_options": {"include_usage": True}}
    return {**body, **wants_usage} if streamed else body


def kernel_takes() -> int:
    """How many bytes the kernel holds for a client who doesn't read."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        client.connect(listener.getsockname())
        connection, _ = listener.accept()
        with connection:
            connection.setblocking(False)
            taken = 0
            with suppress(BlockingIOError):
                while True:
                    taken += connection.send(LARGE.encode())
            return taken


# --- The rounds


def kill_under_load(gateway: Gateway, fake, chance: random.Random) -> Counter:
    """Kill it among many requests in all their states."""
    token = fake.script(either(paced(stream(PIECES, usage=usage())), [Pause(0.02), *plain()]))
    crowd = Crowd(gateway)
    with killed(gateway, clients=CLIENTS) as threads:
        clients = [threads.submit(crowd.keep_asking, number, token) for number in range(CLIENTS)]
        wait_for_answers(crowd, chance.randrange(1, MOST_ANSWERS), clients)
        time.sleep(chance.uniform(0, 0.03))  # Not for luck: any moment will do.
    return check_after_restart(crowd, [answer for one in clients for answer in one.result()])


def wait_for_answers(crowd: "Crowd", number: int, clients: list[Future]) -> None:
    def answered() -> int:
        for client in clients:
            assert not client.done(), client.result()
        return crowd.answered

    eventually(answered, lambda count: count >= number)


def kill_while_settling(gateway: Gateway, fake, chance: random.Random) -> Counter:
    """Kill it when the provider has just ended all answers at once."""
    *events, done, end = stream(PIECES, usage=usage())
    assert isinstance(done, Done)
    steps = either([*events, WaitFor("the end"), done, end], [WaitFor("the end"), *plain()])
    token = fake.script(steps, keep=CLIENTS)
    crowd = Crowd(gateway)
    with killed(gateway, clients=CLIENTS) as threads:
        clients = [threads.submit(crowd.ask, number, token) for number in range(CLIENTS)]
        fake.wait_for_calls(token, CLIENTS)
        fake.go(token, "the end")
        fake.wait_for_finish(token)
        time.sleep(chance.uniform(0, 0.04))
    return check_after_restart(crowd, [client.result() for client in clients])


def usage() -> dict:
    return usage_of(10, len(PIECES))


def plain() -> list:
    return answer("".join(PIECES), prompt_tokens=10, completion_tokens=len(PIECES))


def paced(steps: list) -> list:
    return [timed for step in steps for timed in (step, Pause(PACE_S))]


# --- Who asks


class Crowd:
    """Clients of several customers, who want a stream every other time."""

    def __init__(self, gateway: Gateway):
        self.gateway = gateway
        self.customers = [Customer(gateway, unlimited=True) for _ in range(CUSTOMERS)]
        self.answered = 0
        self._lock = threading.Lock()

    def keep_asking(self, number: int, token: str) -> list["Received"]:
        """Ask again and again, until the gateway is gone."""
        answers = []
        try:
            while True:
                answers.append(self.ask(number + len(answers), token))
        except ConnectionError:
            return answers

    def ask(self, number: int, token: str) -> "Received":
        """Raises ConnectionError when the gateway takes no request any more."""
        customer = self.customers[number // 2 % CUSTOMERS]
        with WireClient(self.gateway.port) as client:
            client.post(body_of(token, streamed=number % 2 == 1), customer.headers)
            received = Received(customer, client.read_to_the_end(), PIECES)
        with self._lock:
            self.answered += received.answer.is_whole
        return received


@dataclass(frozen=True)
class Received:
    """What one client got of `pieces`, each of which is billed as one token."""

    customer: Customer
    answer: Answer
    pieces: list[str] = field(repr=False)

    def check_is_paid_as_stated(self, entries: list) -> None:
        (entry,) = entries
        assert entry.amount_nano == -self.answer.cost_nano

    def check_has_what_was_billed(self, row: ApiRequest) -> None:
        """A plain body's last byte leaves after the commit; a stream's text before it."""
        if self.answer.is_stream:
            billed = "".join(self.pieces[: row.completion_tokens])
            has_all = self.answer.text.startswith(billed)
            assert has_all, f"paid for {len(billed)}, has {len(self.answer.text)}"
        else:
            missing_bytes = self.answer.missing_bytes
            assert missing_bytes <= 1


# --- The books


def check_after_restart(crowd: Crowd, received: list[Received]) -> Counter:
    """Sweep, and compare the books with what the clients got."""
    sweep()
    for customer in crowd.customers:
        check_books(customer, [one for one in received if one.customer is customer])
    whole = sum(one.answer.is_whole for one in received)
    return Counter({"whole": whole, "cut short": len(received) - whole})


def check_books(customer: Customer, received: list[Received]) -> None:
    answered = {one.answer.request_id: one for one in received if one.answer.status}
    rows = {str(row.id): row for row in customer.requests()}
    entries: dict[str, list] = {}
    for entry in customer.usage_entries():
        entries.setdefault(str(entry.request_id), []).append(entry)

    for request_id, one in answered.items():
        assert one.answer.status == 200, one.answer.body
        if one.answer.is_whole:
            one.check_is_paid_as_stated(entries.get(request_id, []))
    for request_id in entries:
        assert request_id in answered, f"paid for {request_id}, of which nothing was received"
        answered[request_id].check_has_what_was_billed(rows[request_id])
    check_books_of(customer)
