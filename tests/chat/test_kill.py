"""kill -9 in the middle of chats: nobody is charged for a reply whose text isn't kept."""

import datetime as dt
import html
import random
import re
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import orjson
import pytest
import requests
from django.conf import settings
from django.test import Client
from django.utils import timezone

from chat import stored_replies
from chat.models import Conversation, Message
from gateway.models import ApiRequest
from tests.support.chat.chatting import begin, stored
from tests.support.chat.writing import talk
from tests.support.gateway.kills import (
    _mortal_process,
    chance,
    check_books_of,
    killed,
    mortal,
    sweep,
    wait_for_the_moment,
)
from tests.support.gateway.receipts import INPUT, OUTPUT
from tests.support.live import DEADLINE_S, Customer, Gateway, eventually
from tests.support.provider.scripts import Pause, WaitFor, stream, usage_of

__all__ = ["_mortal_process", "chance", "mortal"]

State = Message.State
Outcome = ApiRequest.Outcome
STORED = ("sent", "stopped", "regenerated", "edited", "deleted")
TEMPORARY = ("temporary", "temporary and stopped")
BROKEN_OFF = ("stopped", "deleted", "temporary and stopped")
FIRST = "A reply "
PIECES = [FIRST, *["and more of it "] * 20, "is kept."]
TEXT = "".join(PIECES)
PRICE = 10 * INPUT + len(PIECES) * OUTPUT
WITHIN_S = 0.25  # about as long as all of them take to end
LATER = dt.timedelta(minutes=1)
CSRF_SECRET = "k" * 32  # Any will do, as long as header and cookie agree.


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(2, marks=pytest.mark.proof),
        pytest.param(25, marks=pytest.mark.endurance),
    ],
)
def test_a_kill_leaves_no_reply_that_is_charged_and_not_kept(mortal, fake, chance, rounds):
    seen: Counter = Counter()
    for _ in range(rounds):
        seen += kill_while_chatting(mortal, fake, chance)
    print(dict(sorted(seen.items())))
    assert sum(seen.values()) == rounds * len(STORED + TEMPORARY)


def kill_while_chatting(gateway: Gateway, fake, chance: random.Random) -> Counter:
    """Kill it while a reply of each kind is written, stopped, deleted or charged."""
    browsers = [Browser(kind, gateway, held_up(fake)) for kind in STORED + TEMPORARY]
    with killed(gateway, clients=2 * len(browsers)) as threads:
        for one in browsers:
            one.ask(threads)
        for one in browsers:
            eventually(one.has_first_piece)
        for one in chance.sample(browsers, len(browsers)):
            time.sleep(chance.uniform(0, 0.01))  # So that they don't all end at once.
            if one.kind not in BROKEN_OFF or chance.random() < 0.5:
                fake.go(one.token, "the rest")
            threads.submit(one.break_off, chance.uniform(0, 0.06))
        wait_for_the_moment(chance, [one.customer for one in browsers], within_s=WITHIN_S)
    sweep()
    stored_replies.end_silent(now=timezone.now() + LATER)
    return Counter(f"{one.kind}: {one.check()}" for one in browsers)


def held_up(fake) -> str:
    """A reply that stops after FIRST until the test lets it go on."""
    head, role, first, *rest = stream(PIECES, usage=usage_of(10, len(PIECES)))
    paced = [timed for step in rest for timed in (Pause(0.001), step)]
    return fake.script([head, role, first, WaitFor("the rest"), *paced])


class Browser:
    """One signed-in person, for whom a reply of one kind is written."""

    def __init__(self, kind: str, gateway: Gateway, token: str):
        self.kind, self.token = kind, token
        self.customer = Customer(gateway, unlimited=True)
        self.received = b""  # of a temporary reply
        self._headers = headers_of(self.customer)

    # --- before the kill

    def ask(self, threads: ThreadPoolExecutor) -> None:
        """Have the reply begun."""
        if self.kind in TEMPORARY:
            self._reading: Future = threads.submit(self._read)
            return
        path, said = self._begin()
        response = self._post(path, {"text": said, "model": "scripted"})
        assert response.status_code == 200, response.text
        replies = Message.objects.filter(conversation=self.conversation, request_id__isnull=False)
        self.reply_id = replies.get().id

    def has_first_piece(self) -> bool:
        if self.kind in TEMPORARY:
            return self.text() == plain(FIRST)
        return stored(self.reply_id).text == FIRST

    def _begin(self) -> tuple[str, str]:
        """Make the conversation. Return where the reply is asked for, and what is said there."""
        user = self.customer.user
        if self.kind in ("regenerated", "edited"):
            said = self.token if self.kind == "regenerated" else "Something else"
            self.conversation = talk(user, said, "An earlier reply")
            first, reply = self.conversation.messages.order_by("id")
            if self.kind == "regenerated":
                return f"/chat/messages/{reply.id}/regenerate", ""
            return f"/chat/messages/{first.id}/edit", self.token
        self.conversation = begin(self.customer)
        return f"/chat/{self.conversation.id}/send", self.token

    def _read(self) -> None:
        body = {"model": "scripted", "messages": [{"role": "user", "text": self.token}]}
        with (
            suppress(requests.RequestException),
            self._post("/chat/temporary/reply", json=body, stream=True) as response,
        ):
            for part in response.iter_content(None):
                self.received += part

    def break_off(self, after_s: float) -> None:
        """Stop or delete the reply, if that is its kind."""
        time.sleep(after_s)  # Not for luck: any moment will do.
        with suppress(requests.RequestException):
            if self.kind == "stopped":
                self._post(f"/chat/messages/{self.reply_id}/stop")
            elif self.kind == "deleted":
                self._post(f"/chat/{self.conversation.id}/delete", allow_redirects=False)
            elif self.kind == "temporary and stopped":
                self._post(f"/chat/temporary/{self._updates()[0]['id']}/stop")

    def _post(self, path: str, data: dict | None = None, **options) -> requests.Response:
        url = self.customer.gateway.url + path
        return requests.post(url, data, headers=self._headers, timeout=DEADLINE_S, **options)

    # --- what a temporary reply has brought

    def _updates(self) -> list[dict]:
        *frames, _ = self.received.split(b"\n\n")
        start = b"event: update\ndata: "
        return [orjson.loads(one.removeprefix(start)) for one in frames if one.startswith(start)]

    def text(self) -> str:
        """The text that the page would show."""
        updates = [one["text"] for one in self._updates()]
        closed = "".join(one["closed"] for one in updates)
        return plain(closed + (updates[-1]["open"] if updates else ""))

    # --- after it

    def check(self) -> str:
        """Compare the books with what is kept. Return how the reply has ended."""
        check_books_of(self.customer)
        (request,) = self.customer.requests()
        entries = self.customer.usage_entries()
        charged_nano = -sum(one.amount_nano for one in entries)
        assert len(entries) <= 1
        assert request.cost_nano == charged_nano
        if request.outcome == Outcome.FINISHED:
            assert charged_nano == PRICE
        if self.kind in TEMPORARY:
            self._reading.result()
            self._check_text(request, self.text())
        elif Conversation.objects.filter(pk=self.conversation.pk).exists():
            self._check_stored(request)
        else:
            assert self.kind == "deleted"
        return request.outcome

    def _check_text(self, request: ApiRequest, text: str) -> None:
        """It is what the provider sent, as far as that is billed at least."""
        whole = plain(TEXT)
        assert whole.startswith(text)
        if request.outcome == Outcome.FINISHED:
            assert text == whole
        elif request.outcome == Outcome.CLIENT_GONE and request.estimated:
            assert request.completion_tokens <= -(-(len(text) + 1) // 4)
        elif request.cost_nano:
            assert request.completion_tokens <= len(PIECES) * len(text) // len(whole)

    def _check_stored(self, request: ApiRequest) -> None:
        reply = stored(self.reply_id)
        state = {Outcome.FINISHED: {State.FINISHED}, Outcome.CLIENT_GONE: {State.STOPPED}}
        assert reply.state in state.get(request.outcome, {State.INTERRUPTED, State.STOPPED})
        assert (reply.cost_nano, reply.completion_tokens) == (
            request.cost_nano,
            request.completion_tokens,
        )
        assert TEXT.startswith(reply.text)
        self._check_text(request, plain(reply.text))
        url = f"{self.customer.gateway.url}/chat/messages/{reply.id}"
        page = requests.get(url, headers=self._headers, timeout=DEADLINE_S)
        is_free = reply.state == State.INTERRUPTED and not request.cost_nano
        assert ("nothing was charged for it" in page.text) == is_free


def plain(said: str) -> str:
    """Text as a page shows it: without tags, and without space at its ends."""
    return html.unescape(re.sub(r"<[^>]*>", "", said)).strip()


def headers_of(customer: Customer) -> dict[str, str]:
    """The headers of a page's script, in a browser where the customer is signed in."""
    client, name = Client(), settings.SESSION_COOKIE_NAME
    client.force_login(customer.user)
    cookies = f"{name}={client.cookies[name].value}; {settings.CSRF_COOKIE_NAME}={CSRF_SECRET}"
    return {"Cookie": cookies, "X-CSRFToken": CSRF_SECRET, "Accept": "application/json"}
