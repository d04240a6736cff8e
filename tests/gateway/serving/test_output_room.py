"""Which output limit goes up: the caller's or a default, as far as it fits beside the prompt."""

import dataclasses

import pytest

from gateway.catalogue.entries import read_catalogue
from gateway.dialects import text as text_request
from gateway.dialects.apis import CHAT as CHAT_API
from gateway.dialects.apis import MESSAGES, RESPONSES
from gateway.dialects.chat import request as chat_request
from gateway.dialects.request import AGENT_MAX_TOKENS, DEFAULT_MAX_TOKENS
from gateway.models import Model, Route
from gateway.serving.reservation import LEAST_ROOM, ask_for, output_room, tokens_of
from tests.gateway.conftest import live_route, two_routes
from tests.support.gateway.receipts import GOOD
from tests.support.live import Customer
from tests.support.provider.scripts import answer, error

CONTEXT = 40_960
FRAME = 16 + 512  # Of one message, and of the route's template.


@pytest.fixture
def route(scripted):
    (candidate,) = read_catalogue()["scripted"].candidates
    return dataclasses.replace(candidate, context_length=CONTEXT, max_output_tokens=CONTEXT)


def chat(text: str, **fields):
    messages = [{"role": "user", "content": text}]
    return chat_request.parse({"model": "m", "messages": messages, **fields})


def prompt_of(size: int):
    return chat("x" * size, max_tokens=32_000)


@pytest.mark.parametrize(
    ("size", "room"),
    [
        (0, CONTEXT - FRAME),
        (30_000, CONTEXT - 10_000 - FRAME),
        # What is dense for one tokenizer leaves half of what is left by an ordinary one.
        (120_000, (CONTEXT - 30_000) // 2),
        (160_000, LEAST_ROOM),
        (300_000, LEAST_ROOM),
    ],
)
def test_the_room_is_what_a_dense_prompt_leaves(route, size, room):
    assert output_room(prompt_of(size), route) == room


def test_a_prompt_that_is_counted_leaves_all_the_rest(route):
    request = text_request.parse({"model": "m", "prompt": [[1] * 1000]})
    assert output_room(request, route) == CONTEXT - 1000 - 4


def test_each_of_several_prompts_has_the_context_for_itself(route):
    one = text_request.parse({"model": "m", "prompt": "x" * 3000})
    many = text_request.parse({"model": "m", "prompt": ["x" * 3000] * 50})
    assert output_room(many, route) == output_room(one, route)


def test_no_route_is_asked_for_more_than_its_model_writes(route):
    short = dataclasses.replace(route, max_output_tokens=100)
    assert output_room(prompt_of(0), short) == 100


def test_the_hold_covers_the_roomiest_route(route):
    narrow = dataclasses.replace(route, context_length=8192)
    ask = ask_for(prompt_of(30_000), (narrow, route))
    assert ask.max_tokens == output_room(prompt_of(30_000), route)
    assert ask_for(prompt_of(30_000), (narrow,)).max_tokens < 8192


def test_the_hold_covers_the_dearest_output_wherever_its_route_stands(route):
    dearest = dataclasses.replace(route.price, output=3 * route.price.output)
    dear = dataclasses.replace(route, price=dearest)
    for routes in ((route, dear), (dear, route)):
        assert ask_for(prompt_of(0), routes).output_price == dearest.output


# --- Without a limit -----------------------------------------------------------------------------

SAID = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("request_", "limit"),
    [
        (CHAT_API.read({"model": "m", "messages": SAID}), DEFAULT_MAX_TOKENS),
        (RESPONSES.read({"model": "m", "input": "Hi"}), AGENT_MAX_TOKENS),
        (RESPONSES.read({"model": "m", "input": "Hi", "max_output_tokens": 70}), 70),
        (MESSAGES.read({"model": "m", "messages": SAID, "max_tokens": 32_000}), 32_000),
    ],
)
def test_an_agent_of_the_responses_api_gets_a_long_answer(route, request_, limit):
    assert ask_for(request_, (route,)).max_tokens == limit


def test_a_limit_that_nobody_named_counts_as_a_likely_one(route):
    request = RESPONSES.read({"model": "m", "input": "Hi"})
    ask = ask_for(request, (route,))
    assert tokens_of(request, route, ask) == (1 + 4096, 2 + FRAME + 4096)
    named = RESPONSES.read({"model": "m", "input": "Hi", "max_output_tokens": 9000})
    assert tokens_of(named, route, ask_for(named, (route,))) == (1 + 9000, 2 + FRAME + 9000)


# --- Over HTTP -----------------------------------------------------------------------------------


@pytest.fixture
def wide(gateway, fake) -> Route:
    route = live_route("wide", fake.base_url)
    Model.objects.filter(slug="wide").update(context_length=CONTEXT)
    return route


def test_claude_codes_limit_is_cut_to_what_fits(gateway, fake, wide):
    customer = Customer(gateway)
    token = fake.script(answer("Hi"))
    said = f"{token} {'word ' * 16_000}"
    body = {"model": "wide", "messages": [{"role": "user", "content": said}]}
    assert customer.post({**body, "max_tokens": 32_000}, path="/v1/messages").ok
    (call,) = fake.calls(token)
    assert call.json["max_tokens"] + 20_000 < CONTEXT  # Counted at 4 bytes a token.
    assert call.json["max_tokens"] > 10_000
    row = customer.settled_request()
    assert row.hold_nano > call.json["max_tokens"] * 400


def test_codex_gets_its_files_whole(gateway, fake, wide):
    customer = Customer(gateway)
    token = fake.script(answer("Hi"))
    body = {"model": "wide", "input": token}
    assert customer.post(body, path="/v1/responses").ok
    (call,) = fake.calls(token)
    assert call.json["max_tokens"] == AGENT_MAX_TOKENS
    assert customer.settled_request().hold_nano > AGENT_MAX_TOKENS * 400


def test_who_can_not_afford_a_long_answer_gets_a_shorter_one(gateway, fake, wide):
    customer = Customer(gateway, balance_nano=4_000_000)
    token = fake.script(answer("Hi"))
    assert customer.post({"model": "wide", "input": token}, path="/v1/responses").ok
    (call,) = fake.calls(token)
    assert 9000 < call.json["max_tokens"] < 10_000


def test_each_route_is_asked_for_what_its_own_context_holds(gateway, fake):
    dearer = two_routes(fake.base_url, fake.base_url)
    Model.objects.filter(pk=dearer.model_id).update(context_length=CONTEXT)
    Route.objects.filter(model=dearer.model).exclude(pk=dearer.pk).update(context_length=4096)
    token = fake.script_attempts([error(500), GOOD])
    assert Customer(gateway).ask(token, model=dearer.model.slug, max_tokens=20_000).ok
    limits = [call.json["max_tokens"] for call in fake.calls(token)]
    assert limits[0] < 4096
    assert limits[1] == 20_000
