"""Load on one gateway process: many people who ask at once, and a look at /ready all the time."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator

import requests
from django.conf import settings

from tests.support.api_client import ALL_SCOPES, signed_in
from tests.support.factories import make_key
from tests.support.live import Customer, Gateway

MAX_TOKENS = 2  # of receipts.USAGE
LOOK_S = 0.2
GIVE_UP_S = 30
BROKEN_OFF = 0  # In place of a status: the answer lacks its end, as it couldn't be settled.


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answer: what was asked, when by the monotonic clock, the status, and the body."""

    kind: str
    began: float
    ended: float
    status: int
    body: bytes

    @property
    def took_s(self) -> float:
        return self.ended - self.began


@dataclasses.dataclass
class Load:
    """People who ask for answers, pages and /api, each one request at a time."""

    gateway: Gateway
    prompt: str
    pause_s: float
    account_fields: dict = dataclasses.field(default_factory=lambda: {"unlimited": True})
    answers: list[Answer] = dataclasses.field(default_factory=list)
    looks: list[Answer] = dataclasses.field(default_factory=list)  # at /ready

    def __post_init__(self) -> None:
        self.customers = [Customer(self.gateway, **self.account_fields) for _ in range(4)]
        person = self.customers[0].user
        cookie = settings.SESSION_COOKIE_NAME
        self._cookies = {cookie: signed_in(person).cookies[cookie].value}
        self._api_key = make_key(person, scopes=ALL_SCOPES)[1]

    @contextlib.contextmanager
    def pressing(self) -> Iterator[None]:
        """All ask until the end of the block."""
        over = threading.Event()
        asks: list[tuple[str, Callable[[], requests.Response]]] = [
            *((f"chat {i}", self._chat(i)) for i in range(len(self.customers))),
            ("page", lambda: self._get("/dashboard", cookies=self._cookies)),
            ("api", lambda: self._get("/api/account", bearer=self._api_key)),
        ]
        threads = [
            threading.Thread(target=self._repeat, args=(over, self.answers, self.pause_s, *ask))
            for ask in asks
        ]
        look = ("ready", lambda: self._get("/ready"))
        threads.append(
            threading.Thread(target=self._repeat, args=(over, self.looks, LOOK_S, *look))
        )
        for one in threads:
            one.start()
        try:
            yield
        finally:
            over.set()
            for one in threads:
                one.join()

    def _chat(self, number: int) -> Callable[[], requests.Response]:
        customer = self.customers[number]
        streams = number % 2 == 0
        return lambda: customer.ask(self.prompt, max_tokens=MAX_TOKENS, stream=streams)

    def _get(self, path: str, *, bearer: str = "", **options) -> requests.Response:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        url = self.gateway.url + path
        return requests.get(
            url, headers=headers, timeout=GIVE_UP_S, allow_redirects=False, **options
        )

    def _repeat(self, over, answers, pause_s, kind, ask) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                response = ask()
                status, body = response.status_code, response.content
            except requests.exceptions.ChunkedEncodingError:
                status, body = BROKEN_OFF, b""
            answers.append(Answer(kind, began, time.monotonic(), status, body))
            over.wait(pause_s)

    # --- looking back

    def of(self, kind: str) -> list[Answer]:
        return [one for one in self.answers if one.kind == kind]

    def begun_between(self, begin: float, end: float) -> list[Answer]:
        return [one for one in self.answers if begin <= one.began < end]

    def whole_answers(self, number: int) -> int:
        """Count the answers that this customer got to their ends."""
        answers = [one for one in self.of(f"chat {number}") if one.status == 200]
        if number % 2 == 0:
            return sum(one.body.endswith(b"data: [DONE]\n\n") for one in answers)
        return len(answers)
