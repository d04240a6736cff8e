"""An account with a history to look at, which `make demo` puts into a Kyma of its own.

Its money comes and goes through the ledger like everybody's, and ledger entries are never deleted.
So the demo has a state folder of its own, and ends when that folder is deleted.
"""

import dataclasses
import datetime as dt
import random
import secrets

from django.utils import timezone

from accounts import keys
from accounts.addresses import mark_verified
from accounts.keyring import data_keys
from accounts.models import ApiKey, ProviderChoice, User
from billing import ledger
from billing.accounts import open_account
from billing.key_caps import set_caps
from billing.models import CreditAccount, LedgerEntry
from billing.pricing import NANO_PER_USD
from gateway.analytics import rollups
from gateway.models import Route
from kyma.demo import chat as demo_chat
from kyma.demo.usage import Habit, Past
from kyma.machine.supervisor import SupervisorError
from privacy.provider_policy import NO_TEXT, choose

EMAIL = "demo@kyma.local"
DAYS = 30
A_DAY = 60  # requests
CREDIT_NANO = 25 * NANO_PER_USD
CAPS: dict[str, dict[str, int | None]] = {
    "website": {"month": 20 * NANO_PER_USD},
    "coding agent": {"day": 2 * NANO_PER_USD, "total": 50 * NANO_PER_USD},
}
SEED = 4
MODELS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Demo:
    password: str
    requests: int
    conversations: int

    @property
    def summary(self) -> str:
        return (
            f"The demo: {self.requests:,} requests and {self.conversations} conversations.\n"
            f"Sign in as {EMAIL} with the password {self.password}"
        )


def make(*, days: int = DAYS, a_day: int = A_DAY, now: dt.datetime | None = None) -> Demo:
    """Make the account with `days` of usage up to an hour ago.

    Raises SupervisorError when there are other accounts, whose books it would be mixed into.
    """
    if User.objects.exists():
        raise SupervisorError(
            "The demo is made before any other account. It needs an empty state folder, "
            "which `make demo` gives it."
        )
    now = (now or timezone.now()) - dt.timedelta(hours=1)
    routes = _routes()
    password = secrets.token_urlsafe(12)
    start = now - dt.timedelta(days=days)
    user = User.objects.create_user(EMAIL, password, created_at=start)
    choose(user, ProviderChoice.NONE, text_version=NO_TEXT)
    mark_verified(user)
    account = _open_account(user, start)
    past = Past(account, data_keys.cipher_of(user.id), now, random.Random(SEED))
    habits = _habits(user, routes, a_day, start, now)
    # One transaction per day, so that the requests of a running gateway never wait for all of them.
    for day in (start.date() + dt.timedelta(days=number) for number in range(days + 1)):
        past.live(habits, day)
        demo_chat.talk(past, user, routes, day)
    for habit in habits:  # Last, because the sums beside the caps would begin today.
        set_caps(habit.key, CAPS.get(habit.key.name, {}))
    rollups.rebuild()
    return Demo(password, account.requests.count(), user.conversations.count())


def _routes() -> list[Route]:
    """Return one route to each of a few chat models."""
    rows = Route.objects.select_related("model", "provider", "price_version").order_by("-enabled")
    chatting = [row for row in rows if row.model.capabilities != ["embedding"]]
    by_model = {row.model_id: row for row in reversed(chatting)}
    return sorted(by_model.values(), key=_dearness, reverse=True)[:MODELS]


def _dearness(route: Route) -> tuple[bool, bool, int]:
    """Return a sort key: usable routes first, then routes with a price of up to a few dollars."""
    price = route.price_version.output_nano
    return route.enabled and route.provider.enabled, price <= 3 * NANO_PER_USD, price


def _open_account(user: User, at: dt.datetime) -> CreditAccount:
    account = open_account(user)
    ledger.credit(
        account.id,
        kind=LedgerEntry.Kind.ADJUSTMENT,
        amount_nano=CREDIT_NANO,
        idempotency_key=f"demo:{user.id}",
        at=at,
    )
    return account


def _habits(
    user: User, routes: list[Route], a_day: int, start: dt.datetime, now: dt.datetime
) -> list[Habit]:
    """Make keys of different kinds, and say how each is used."""
    third = (now - start) / 3
    website = _key(user, "website", start, scopes=["usage:read"])
    agent = _key(user, "coding agent", start, retention_days=7, requests_per_minute=60)
    batch = _key(user, "nightly batch", start + third, retention_days=0)
    laptop = _key(user, "old laptop", start, revoked_at=start + 2 * third)
    return [
        Habit(website, routes, a_day // 2),
        Habit(
            agent,
            routes[:2],
            a_day // 4,
            api="messages",
            longest_prompt=20_000,
            user_agent="claude-cli/2.0.1",
            in_sessions=True,
        ),
        Habit(batch, routes[-1:], a_day // 6, streamed=False, user_agent="python-requests/2.34"),
        Habit(laptop, routes[1:3] or routes, a_day // 10, user_agent="curl/8.9.1"),
    ]


def _key(user: User, name: str, created_at: dt.datetime, **fields) -> ApiKey:
    """Make a key whose text nobody knows."""
    return keys.issue(user, name=name, created_at=created_at, **fields)[0]
