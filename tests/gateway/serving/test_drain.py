"""SIGTERM: what has begun ends well, what is owed is settled, and nothing new begins."""

import orjson
import pytest
import requests

from billing.pricing import Usage, cost_nano
from gateway.commits import reconcile
from gateway.models import ApiRequest
from tests.gateway.conftest import live_route
from tests.support.gateway.wire_client import CHAT, Answer, WireClient
from tests.support.live import Customer, Gateway, eventually
from tests.support.provider.scripts import WaitFor, answer, either, stream, usage_of

STREAMS = 20
PIECES = ["Whatever ", "has ", "begun ", "ends ", "well."]
USAGE = Usage(prompt=10, completion=len(PIECES))
LESS_THAN_A_DRAIN_S = 15  # Of DRAIN_AFTER_HANG_UP_S.
BEGUN = 3  # The head, the role and the first piece.


@pytest.fixture
def customer(committed, scripted):
    """Somebody whose gateway isn't running yet: each test ends one of its own."""
    return Customer(Gateway(), unlimited=True)


def test_20_open_streams_end_whole_while_the_process_drains(customer, fake):
    token = held_up_script(fake)
    with Gateway(DRAIN_NOTICE_S="5") as gateway:
        customer.gateway = gateway
        plain = begin(customer, token)
        streams = [begin(customer, token, stream=True) for _ in range(STREAMS)]
        fake.wait_for_calls(token, STREAMS + 1)

        gateway.terminate()
        eventually(lambda: readiness(gateway) == (503, "this process is ending"))
        eventually(lambda: not accepts_connections(gateway))
        fake.go(token, "the end")

        answers = [client.read_to_the_end() for client in [plain, *streams]]
        assert gateway.wait() == 0
    assert all(answer.is_whole for answer in answers)
    assert {answer.text for answer in answers[1:]} == {"".join(PIECES)}
    check_receipts(customer, answers)


def test_a_client_that_hung_up_just_before_is_still_settled(customer, fake):
    live_route("bills-after-hang-up", fake.base_url, stops_billing_on_cancel=False)
    token = held_up_script(fake)
    with customer.gateway as gateway:
        client = begin(customer, token, stream=True, model="bills-after-hang-up")
        client.socket.close()
        gateway.terminate()
        eventually(lambda: not accepts_connections(gateway))
        assert customer.holds(), "the provider's answer is still awaited, for what it costs us"
        fake.go(token, "the end")
        assert gateway.wait() == 0
    row = customer.settled_request()
    assert row.outcome == ApiRequest.Outcome.CLIENT_GONE
    assert row.upstream_cost_nano == cost_nano(row.price_version.price, USAGE)
    assert row.completion_tokens == 1, "the piece that it got"
    check_books(customer)


def test_a_stream_that_outlasts_the_drain_is_broken_off_and_free(customer, fake):
    token = held_up_script(fake)
    with Gateway(DRAIN_TIMEOUT_S="0.2") as gateway:
        customer.gateway = gateway
        client = begin(customer, token, stream=True)
        gateway.terminate()
        assert gateway.wait() == 0
    assert not client.read_to_the_end().is_whole
    check_kyma_broke_it_off(customer, status=200)


def test_a_request_that_outlasts_the_drain_unanswered_is_broken_off_and_free(customer, fake):
    live_route("bills-after-hang-up", fake.base_url, stops_billing_on_cancel=False)
    token = held_up_script(fake)
    with Gateway(DRAIN_TIMEOUT_S="0.2") as gateway:
        customer.gateway = gateway
        client = begin(customer, token, model="bills-after-hang-up")
        fake.wait_for_calls(token, 1)
        gateway.terminate()
        assert gateway.wait(LESS_THAN_A_DRAIN_S) == 0
    check_asks_for_another_try(client.read_to_the_end())
    check_kyma_broke_it_off(customer, status=503)


def test_sigint_answers_what_has_no_head_yet_in_its_own_protocol(customer, fake):
    token = held_up_script(fake)
    with Gateway(DRAIN_NOTICE_S="600") as gateway:
        customer.gateway = gateway
        chat = begin(customer, token)
        message = begin(customer, token, path="/v1/messages", max_tokens=100)
        fake.wait_for_calls(token, 2)
        gateway.interrupt()
        assert gateway.wait(LESS_THAN_A_DRAIN_S) == 0
    answer = chat.read_to_the_end()
    check_asks_for_another_try(answer)
    assert orjson.loads(answer.body)["request_id"] == answer.request_id
    answer = message.read_to_the_end()
    check_asks_for_another_try(answer)
    assert orjson.loads(answer.body)["type"] == "error"
    assert answer.headers["request-id"] == answer.request_id
    check_books(customer)


def check_asks_for_another_try(answer: Answer) -> None:
    assert answer.status == 503
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["x-should-retry"], answer.headers["retry-after"]) == ("true", "2")
    assert "send it again" in orjson.loads(answer.body)["error"]["message"]


def test_a_client_that_hung_up_holds_up_no_process_that_has_no_more_time(customer, fake):
    live_route("bills-after-hang-up", fake.base_url, stops_billing_on_cancel=False)
    token = held_up_script(fake)
    with Gateway(DRAIN_TIMEOUT_S="0.2") as gateway:
        customer.gateway = gateway
        client = begin(customer, token, stream=True, model="bills-after-hang-up")
        client.socket.close()
        gateway.terminate()
        assert gateway.wait(LESS_THAN_A_DRAIN_S) == 0
    row = customer.settled_request()
    assert row.outcome == ApiRequest.Outcome.CLIENT_GONE
    assert row.completion_tokens == -(-len(PIECES[0]) // 4), "an estimate of the piece it got"
    check_books(customer)


# --- Asking


def held_up_script(fake) -> str:
    """An answer that comes to its end when the test lets it."""
    steps = stream(PIECES, usage=usage_of(10, len(PIECES)))
    plain = answer("".join(PIECES), completion_tokens=len(PIECES))
    wait = WaitFor("the end")
    return fake.script(either([*steps[:BEGUN], wait, *steps[BEGUN:]], [wait, *plain]))


def begin(
    customer: Customer, token: str, *, stream=False, model="scripted", path=CHAT, **fields
) -> WireClient:
    """A client whose request is under way: of a stream, the first piece is here."""
    body = {"model": model, "messages": [{"role": "user", "content": token}], **fields}
    client = WireClient(customer.gateway.port)
    if stream:
        client.post(
            {**body, "stream": True, "stream_options": {"include_usage": True}}, customer.headers
        )
        client.read_until(PIECES[0].encode())
    else:
        client.post(body, customer.headers, path)
    return client


def readiness(gateway: Gateway) -> tuple[int, str]:
    answer = requests.get(f"{gateway.url}/ready", timeout=5)
    return answer.status_code, answer.json()["checks"]["not draining"]


def accepts_connections(gateway: Gateway) -> bool:
    try:
        WireClient(gateway.port).socket.close()
    except ConnectionRefusedError:
        return False
    return True


# --- The books


def check_receipts(customer: Customer, answers: list) -> None:
    stated = {answer.request_id: -answer.cost_nano for answer in answers}
    entries = {str(one.request_id): one.amount_nano for one in customer.usage_entries()}
    assert entries == stated
    check_books(customer)


def check_kyma_broke_it_off(customer: Customer, *, status: int) -> None:
    row = customer.settled_request()
    said = (row.outcome, row.status, row.error_type)
    assert said == (ApiRequest.Outcome.KYMA_FAILED, status, "server")
    assert not customer.usage_entries()
    check_books(customer)


def check_books(customer: Customer) -> None:
    assert not customer.holds()
    assert list(reconcile.differences(customer.account.id)) == []
