"""Sessions keep to one provider, and what names them stays here."""

import random

from gateway.dialects.chat import request as chat_request
from gateway.models import ApiRequest
from gateway.serving import sessions
from tests.gateway.conftest import live_route
from tests.gateway.routing.test_preferences import order, route, wishes
from tests.support.factories import make_provider, make_route
from tests.support.live import Customer
from tests.support.provider.scripts import answer

HELLO = {"role": "user", "content": "Hi"}
ACCOUNT = "a" * 32


def hash_of(body: dict | None = None, headers: dict | None = None, account: str = ACCOUNT) -> str:
    chat = chat_request.parse({"model": "m", "messages": [HELLO], **(body or {})})
    return sessions.session_hash(chat, headers or {}, account)


def test_a_session_is_known_by_any_of_its_names():
    known = hash_of({"session_id": "s"})
    assert len(known) == 32
    assert hash_of({"prompt_cache_key": "s"}) == known
    assert hash_of(headers={"x-session-id": "s"}) == known
    assert hash_of(headers={"x-claude-code-session-id": "s"}) == known
    assert hash_of({"session_id": "s", "prompt_cache_key": "t"}) == known
    assert hash_of({"session_id": "t"}) != known
    assert hash_of() == ""


def test_the_same_name_in_another_account_is_another_session():
    assert hash_of({"session_id": "s"}) != hash_of({"session_id": "s"}, account="b" * 32)


def test_a_name_can_not_be_guessed_from_its_hash(settings):
    known = hash_of({"session_id": "s"})
    settings.SECRET_KEY = "another"
    assert hash_of({"session_id": "s"}) != known


def ordered(routes, session: str, **health) -> list[str]:
    return order(routes, wishes(), session=session, **health)


def test_a_session_keeps_to_one_route_among_those_nearly_as_cheap():
    routes = [route(name, 1 + at / 100) for at, name in enumerate("abcd")]
    for number in range(50):
        session = f"session {number}"
        shuffled = random.Random(number).sample(routes, 4)
        latencies = {name: random.Random(number).random() for name in "abcd"}
        assert ordered(shuffled, session, latencies=latencies) == ordered(routes, session)


def test_sessions_are_spread_over_the_routes():
    routes = [route(name) for name in "abcd"]
    firsts = [ordered(routes, f"session {number}")[0] for number in range(400)]
    assert all(60 < firsts.count(name) < 140 for name in "abcd")


def test_a_session_leaves_a_route_whose_breaker_is_open_and_takes_the_same_second():
    routes = [route(name) for name in "abcd"]
    first, second, *_ = ordered(routes, "s")
    assert ordered(routes, "s", open_ones=[first])[0] == second


def test_a_session_does_not_pay_more_for_it():
    routes = [route("cheap", 1), route("dear", 2)]
    assert {ordered(routes, f"s{number}")[0] for number in range(20)} == {"cheap"}


def test_requests_of_a_session_reach_one_provider_and_none_learns_its_name(gateway, fake):
    live_route("sticky", fake.base_url)
    for _ in range(3):
        make_route("sticky", provider=make_provider(base_url=fake.base_url, self_hosted=True))
    customer = Customer(gateway)
    prompt, secret = fake.script(answer("Hi")), "conversation-with-alice"
    found = {
        customer.ask(prompt, model="sticky", session_id=secret, user="alice").headers[
            "x-kyma-provider"
        ]
        for _ in range(6)
    }
    assert len(found) == 1
    rows = ApiRequest.objects.filter(account=customer.account)
    assert {len(row.session_hash) for row in rows} == {32}
    assert len({(row.session_hash, row.user_hash) for row in rows}) == 1
    assert not [call for call in fake.calls(prompt) if b"alice" in call.body]
