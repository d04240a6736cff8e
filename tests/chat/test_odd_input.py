"""Whatever stands in the place of a field is refused with a reason, and is no fault of ours."""

import copy
import json
from collections.abc import Iterator

import pytest
from asgiref.sync import sync_to_async
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from chat import replies
from tests.support.chat.writing import talk
from tests.support.factories import make_account, make_provider, make_route

HUGE = 10**400
ODD = (None, True, 7, -1, HUGE, "", "x", "é" * 99, [], [1], [None], {}, {"a": 1})
NO_ASCII = "data:image/png;base64,é"
PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(autouse=True)
def in_this_thread(books, monkeypatch):
    """Rules are asked in the thread of the test, whose books no other sees; nothing is written."""
    make_route("scripted", provider=make_provider(self_hosted=True))

    async def here(function, *arguments):
        return await sync_to_async(function)(*arguments)

    monkeypatch.setattr(replies, "in_thread", here)
    monkeypatch.setattr(replies, "_run", lambda turn: None)


@pytest.fixture
def hers(alice) -> Client:
    make_account(alice, unlimited=True)
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    return client


def places(document, path: tuple = ()) -> Iterator[tuple]:
    """Every place in it, by the steps that lead there."""
    yield path
    steps = document.items() if isinstance(document, dict) else ()
    for step, value in enumerate(document) if isinstance(document, list) else steps:
        yield from places(value, (*path, step))


def with_something_odd(document: dict) -> Iterator[tuple[str, bytes]]:
    """The document with each odd thing in each place, and which that is."""
    for path in places(document):
        for odd in ODD:
            changed = {"all": copy.deepcopy(document)}
            *steps, last = "all", *path
            place = changed
            for step in steps:
                place = place[step]
            place[last] = odd
            yield f"{odd!r:.20} in {path}", json.dumps(changed["all"]).encode()


def answers_to(document: dict, ask) -> dict[int, list[str]]:
    """What of it gets which status."""
    found: dict[int, list[str]] = {}
    for what, body in with_something_odd(document):
        found.setdefault(ask(body).status_code, []).append(what)
    return found


SAID = {"role": "user", "text": "Hi", "images": [PIXEL]}
TEMPORARY = {
    "model": "scripted",
    "system_prompt": "Be brief.",
    "parameters": {"temperature": 0.5, "top_p": 1, "max_tokens": 5},
    "messages": [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello"}, SAID],
}


def test_a_temporary_chat_is_refused_by_what_is_odd_in_it(hers):
    path = "/chat/temporary/reply"
    found = answers_to(
        TEMPORARY, lambda body: hers.post(path, body, content_type="application/json")
    )
    assert set(found) == {200, 422}
    assert "[1] in ('parameters',)" in found[422]
    assert "'' in ('model',)" in found[422]
    assert "None in ('parameters',)" in found[200]


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"parameters": [1]}, "parameters is no object. Reload the page."),
        ({"parameters": {"temperature": 9}}, "temperature must be a number from 0 to 2, not 9."),
        ({"parameters": {"seed": 1}}, "There is no parameter seed."),
        ({"messages": {}}, "messages is no list. Reload the page."),
        ({"messages": ["Hi"]}, "messages[0] is no object. Reload the page."),
        ({"messages": [SAID | {"images": [1]}]}, "messages[0].images is no text. Reload the page"),
        ({"messages": [SAID | {"role": "system"}]}, "messages[0].role is neither user nor assist"),
        ({"messages": [SAID | {"role": "assistant"}, SAID]}, "A reply is too long, or has images."),
        ({"model": "x" * 97}, "Choose a model."),
        ({"system_prompt": "x" * 100_001}, "A system prompt has at most 100,000 characters."),
    ],
)
def test_and_says_what_that_is(odd, why, hers):
    path = "/chat/temporary/reply"
    answer = hers.post(path, TEMPORARY | odd, content_type="application/json")
    assert answer.status_code == 422
    assert answer.json()["message"].startswith(why)


def test_an_image_that_is_no_ascii_is_damaged(hers, alice):
    conversation = talk(alice)
    image = {"type": "image_url", "image_url": {"url": NO_ASCII}}
    file = json.dumps([{"role": "user", "content": [image]}]).encode()
    path = f"/api/conversations/{conversation.id}/messages"
    said = {"text": "Look", "images": [NO_ASCII]}
    answers = [
        hers.post(path, said, content_type="application/json"),
        hers.post("/chat/import", {"file": SimpleUploadedFile("chats", file)}),
    ]
    assert [one.status_code for one in answers] == [400, 422]
    assert all("This image is damaged." in one.content.decode() for one in answers)
