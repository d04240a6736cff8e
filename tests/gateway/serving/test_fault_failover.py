"""Each fault of a provider beside a healthy one: answered, billed once, the failing one demoted."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.models import Route
from gateway.routing.health import LEAST_ATTEMPTS
from tests.gateway.conftest import two_routes
from tests.support.gateway.faults import (
    AT_ONCE,
    BROKEN_BODIES,
    BROKEN_STREAMS,
    MID_STREAM,
    cases,
    deaf_port,
    less_impatient,
)
from tests.support.gateway.receipts import (
    GOOD,
    HELLO,
    LEAKED,
    PRICE,
    billed,
    both,
    broken_off,
    events_of,
    read_until,
)
from tests.support.live import Customer
from tests.support.provider.fake import FakeProvider
from tests.support.provider.scripts import Head, Script, WaitFor, error, stream

STREAM, WHOLE = True, False
# What the first provider sends, how the log calls it, and to which kinds of requests.
FAULTS: dict[str, tuple[Script, str, tuple[bool, ...]]] = {
    "429": (error(429), "overloaded", (STREAM, WHOLE)),
    **{name: (steps, fault, (STREAM, WHOLE)) for name, (steps, _, fault) in AT_ONCE.items()},
    **{f"stream: {n}": (steps, f, (STREAM,)) for n, (steps, _, f) in BROKEN_STREAMS.items()},
    **{f"whole: {n}": (steps, f, (WHOLE,)) for n, (steps, _, f) in BROKEN_BODIES.items()},
}
ONCE_EACH = {
    f"{name}, {'stream' if streamed else 'whole'}": (steps, fault, streamed)
    for name, (steps, fault, kinds) in FAULTS.items()
    for streamed in kinds
}


@pytest.fixture(scope="session")
def healthy():
    """A second provider, which answers well whatever it is asked."""
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def twofold(gateway, fake, healthy) -> Route:
    """The dearer route, to the healthy provider; the cheaper one plays the test's fault."""
    return two_routes(fake.base_url, healthy.base_url)


def answered_by_the_second(gateway, route: Route, prompt: str, fault: str, streamed: bool) -> None:
    """Ask: the second route answers, it alone is paid, and the log tells what the first did."""
    customer = Customer(gateway)
    response = customer.ask(prompt, model=route.model.slug, stream=streamed)
    assert response.status_code == 200, response.text
    assert "Oslo" in response.text
    assert not LEAKED.search(response.text)
    assert response.headers["x-kyma-attempts"] == "2"
    assert response.headers["x-kyma-provider"] == "dearer"
    row = billed(customer, 2 * PRICE, outcome="finished", status=200, streamed=streamed)
    assert (row.route, row.provider, row.price_version) == (route, "dearer", route.price_version)
    first, second = row.attempts
    assert (first["provider"], first["error"]) == (route.model.slug, fault)
    assert (second["provider"], second["status"], second.get("error")) == ("dearer", 200, None)


@pytest.mark.parametrize(("steps", "fault", "streamed"), cases(ONCE_EACH, less_impatient))
def test_another_provider_answers(gateway, fake, healthy, twofold, steps, fault, streamed):
    failing, well = fake.script(steps), healthy.script(GOOD)
    answered_by_the_second(gateway, twofold, f"{failing} {well}", fault, streamed)
    assert (fake.count(failing), healthy.count(well)) == (1, 1)


@both
def test_another_provider_answers_for_one_that_refuses_connections(
    gateway, fake, healthy, streamed
):
    route = two_routes(fake.closed_port(), healthy.base_url)
    answered_by_the_second(gateway, route, healthy.script(GOOD), "refused", streamed)


@less_impatient
def test_another_provider_answers_for_one_that_does_not_answer_connections(gateway, healthy):
    with deaf_port() as base_url:
        route = two_routes(base_url, healthy.base_url)
        answered_by_the_second(gateway, route, healthy.script(GOOD), "refused", streamed=False)


# --- Demotion ------------------------------------------------------------------------------------


def ask_often(customer: Customer, model: str, prompt: str, kinds: tuple[bool, ...]) -> list[str]:
    """How many attempts each of as many requests took as a breaker waits for."""

    def attempts(number: int) -> str:
        streamed = kinds[number % len(kinds)]
        response = customer.ask(prompt, model=model, stream=streamed)
        assert response.content
        return response.headers["x-kyma-attempts"]

    with ThreadPoolExecutor(LEAST_ATTEMPTS) as threads:
        return list(threads.map(attempts, range(LEAST_ATTEMPTS)))


def demoted(gateway, route: Route, prompt: str, kinds: tuple[bool, ...]) -> None:
    """After enough failures of the first route a request goes to the second at once."""
    customer = Customer(gateway, unlimited=True)
    slug = route.model.slug
    assert ask_often(customer, slug, prompt, kinds) == ["2"] * LEAST_ATTEMPTS
    response = customer.ask(prompt, model=slug)
    assert response.headers["x-kyma-attempts"] == "1"
    assert response.headers["x-kyma-provider"] == "dearer"


def one_of_each_name() -> list:
    """One fault of each name that the log knows; the others, which count alike, are a proof."""
    seen = set()
    demoting = cases(FAULTS, less_impatient)
    for case in demoting:
        _, fault, kinds = case.values
        if (fault, kinds) in seen:
            case.marks.append(pytest.mark.proof)
        seen.add((fault, kinds))
    return demoting


@pytest.mark.parametrize(("steps", "fault", "kinds"), one_of_each_name())
def test_a_route_that_keeps_failing_is_tried_last(
    gateway, fake, healthy, twofold, steps, fault, kinds
):
    failing = fake.script(steps)
    demoted(gateway, twofold, f"{failing} {healthy.script(GOOD)}", kinds)
    assert fake.count(failing) == LEAST_ATTEMPTS


def test_a_route_that_refuses_connections_is_tried_last(gateway, fake, healthy):
    route = two_routes(fake.closed_port(), healthy.base_url)
    demoted(gateway, route, healthy.script(GOOD), (STREAM, WHOLE))


# --- Once content has come -----------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "told", "fault"), cases(MID_STREAM))
def test_no_other_provider_is_asked_once_an_answer_has_begun(
    gateway, fake, healthy, twofold, steps, told, fault
):
    customer = Customer(gateway)
    breaking = fake.script([Head(), HELLO, WaitFor("the break"), *steps, *stream("more")[1:]])
    well = healthy.script(GOOD)
    response = customer.ask(f"{breaking} {well}", model=twofold.model.slug, stream=True)
    events = events_of(response)
    read_until(events, "Hello ")
    fake.go(breaking, "the break")
    broken_off(list(events), *told)
    row = billed(customer, 0, outcome="upstream-failed", status=200, error_type=told[1])
    assert [one["error"] for one in row.attempts] == [fault]
    assert (fake.count(breaking), healthy.count(well)) == (1, 0)
