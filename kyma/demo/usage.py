"""The demo's history: requests of many days, made through the ledger with times in the past.

Each is reserved and settled by group commit like a real one, so its tokens decide its cost and the
books stay right. Requests without a key come from the chat.
"""

import base64
import dataclasses
import datetime as dt
import random
from collections.abc import Iterable, Iterator

import orjson

from accounts.encryption import Cipher
from accounts.ids import id_at
from accounts.models import ApiKey
from billing.ledger import Ask
from billing.models import CreditAccount
from billing.pricing import Price, Usage, cost_nano, tokens_nano
from gateway import errors
from gateway.commits.now import commit_now
from gateway.commits.operations import Content, Log, Operation, Reserve, Settle
from gateway.commits.record import RequestRecord
from gateway.models import ApiRequest, Route, content_place
from gateway.serving import sessions
from kyma.demo.texts import ASKED

MAX_TOKENS = 2048
LIFETIME = dt.timedelta(minutes=11)
_ENDINGS = {"finished": 93, "client-gone": 2, "upstream-failed": 2, "limited": 2, "invalid": 1}
# The share of a day's requests in each hour (UTC).
_HOURS = (1, 1, 1, 1, 1, 2, 4, 8, 12, 14, 13, 11, 10, 12, 14, 14, 12, 9, 7, 6, 5, 4, 3, 2)


@dataclasses.dataclass(frozen=True, slots=True)
class Habit:
    """The use of one key: its models, its API, and its requests per day."""

    key: ApiKey
    routes: list[Route]
    a_day: int
    api: str = "chat"
    streamed: bool = True
    longest_prompt: int = 4000
    user_agent: str = "OpenAI/Python 2.8.0"
    in_sessions: bool = False


@dataclasses.dataclass(slots=True)
class Past:
    """Writes the history of one account. The same seed gives the same history."""

    account: CreditAccount
    cipher: Cipher
    now: dt.datetime
    chance: random.Random

    def live(self, habits: Iterable[Habit], day: dt.date) -> None:
        """Make all requests of one UTC day in one transaction, as key spend is summed by day."""
        at_times = sorted(
            ((at, habit) for habit in habits for at in self._times(habit, day)),
            key=lambda pair: pair[0],
        )
        commit([one for at, habit in at_times for one in self._request(habit, at)])

    def _times(self, habit: Habit, day: dt.date) -> Iterator[dt.datetime]:
        midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
        quiet = 0.35 if day.weekday() >= 5 else 1.0
        for _ in range(round(habit.a_day * quiet * self.chance.uniform(0.6, 1.4))):
            hour = self.chance.choices(range(24), _HOURS)[0]
            at = midnight + dt.timedelta(hours=hour, seconds=self.chance.uniform(0, 3600))
            ended = habit.key.revoked_at or self.now
            if habit.key.created_at <= at < ended:
                yield at

    def _request(self, habit: Habit, at: dt.datetime) -> list[Operation]:
        route = self.chance.choice(habit.routes)
        ending = self.chance.choices(list(_ENDINGS), list(_ENDINGS.values()))[0]
        record = new_record(self.account, route, at, habit.key)
        record.api, record.streamed = habit.api, habit.streamed
        if habit.in_sessions:
            name = f"{at:%F} {at.hour // 6}"
            record.session_hash = sessions.hash_of(name, record.account_id)
        if ending in ("limited", "invalid"):
            return [Log(_refused(record, ending))]
        if ending == "upstream-failed":
            return booked(self._failed(record, route), Usage(), route.price_version.price)
        usage = self._usage(habit)
        self.time(record, route, usage)
        record.outcome = ending
        question, answer = self.chance.choice(ASKED)
        content = self._content(habit, record, question, answer)
        return booked(record, usage, route.price_version.price, content)

    def _usage(self, habit: Habit) -> Usage:
        prompt = min(habit.longest_prompt, round(self.chance.lognormvariate(6.3, 0.9)))
        cached = round(prompt * self.chance.choice((0, 0, 0.5, 0.9)))
        completion = min(MAX_TOKENS, max(1, round(self.chance.lognormvariate(4.8, 0.8))))
        return Usage(prompt=prompt, cached=cached, completion=completion)

    def time(self, record: RequestRecord, route: Route, usage: Usage) -> None:
        """Set the duration, and the attempt that answered."""
        first = self.chance.lognormvariate(5.7, 0.4)
        whole = first + usage.completion * self.chance.uniform(6, 16)
        overhead = self.chance.uniform(1.5, 4)
        record.overhead_ms, record.latency_ms = round(overhead, 2), round(whole + overhead, 1)
        record.first_token_ms = round(first + overhead, 1) if record.streamed else None
        record.attempts = [_attempt(route, 200, whole)]
        record.finish_reason = "stop"

    def _failed(self, record: RequestRecord, route: Route) -> RequestRecord:
        ms = self.chance.uniform(200, 3000)
        record.attempts = [{**_attempt(route, 503, ms), "error": "overloaded"}]
        record.outcome = ApiRequest.Outcome.UPSTREAM_FAILED.value
        record.status = errors.BadUpstream.status
        record.error_type = errors.BadUpstream.error_type
        record.latency_ms = round(ms + 3, 1)
        return record

    def _content(
        self, habit: Habit, record: RequestRecord, question: str, answer: str
    ) -> Content | None:
        """Return the content, if the key's retention still keeps it now."""
        purge_at = record.created_at + dt.timedelta(days=habit.key.retention_days)
        if purge_at <= self.now:
            return None
        message = {"role": "assistant", "content": answer}
        plain = orjson.dumps(
            {
                "request": {
                    "model": record.model,
                    "messages": [{"role": "user", "content": question}],
                    "stream": record.streamed,
                },
                "answer": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "ip": f"192.0.2.{self.chance.randint(1, 254)}",
                "user_agent": habit.user_agent,
            }
        )
        sealed = self.cipher.seal(plain, content_place(record.id))
        return Content(base64.b64encode(sealed).decode(), purge_at)


def new_record(
    account: CreditAccount, route: Route, at: dt.datetime, key: ApiKey | None
) -> RequestRecord:
    return RequestRecord(
        id=id_at(at).hex,
        account_id=account.id.hex,
        key_id=key.id.hex if key else None,
        created_at=at,
        api="chat",
        status=200,
        model=route.model.slug,
        route_id=route.id.hex,
        provider=route.provider.slug,
        price_version_id=route.price_version_id.hex,
    )


def booked(
    record: RequestRecord, usage: Usage, price: Price, content: Content | None = None
) -> list[Operation]:
    """Reserve the most that the request can cost, and settle what its tokens cost."""
    assert record.price_version_id is not None
    at = record.created_at
    # Each class of tokens is rounded up, so the input may cost a nano-dollar more than in one sum.
    fixed_nano = tokens_nano(usage.prompt, price.input) + price.request + 1
    ask = Ask(fixed_nano, price.output, 1, MAX_TOKENS, flexible=False)
    record.count(usage)
    ended = at + dt.timedelta(milliseconds=record.latency_ms or 0)
    reserve = Reserve(
        request_id=record.id,
        account_id=record.account_id,
        key_id=record.key_id,
        price_version_id=record.price_version_id,
        ask=ask,
        now=at,
        deadline=at + LIFETIME,
    )
    return [reserve, Settle(record, cost_nano(price, usage), min(ended, _end_of(at)), content)]


def commit(operations: list[Operation]) -> None:
    """Apply all operations in one transaction. Raises the first refusal."""
    refusals = [one for one in commit_now(operations) if isinstance(one, Exception)]
    if refusals:
        raise refusals[0]


def _end_of(at: dt.datetime) -> dt.datetime:
    """Return the end of that day: a batch counts into the sums of the day at its time."""
    return at.replace(hour=23, minute=59, second=59, microsecond=999_999)


def _refused(record: RequestRecord, ending: str) -> RequestRecord:
    error = errors.TooManyRequests if ending == "limited" else errors.InvalidRequest
    record.outcome = ApiRequest.Outcome.REFUSED.value
    record.status, record.error_type = error.status, error.error_type
    record.route_id = record.price_version_id = None
    record.provider, record.latency_ms = "", 2.5
    return record


def _attempt(route: Route, status: int, ms: float) -> dict:
    return {
        "provider": route.provider.slug,
        "route": route.id.hex,
        "status": status,
        "ms": round(ms, 1),
    }
