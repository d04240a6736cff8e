"""A second account with a history to look at: `make demo` makes it, `remove_demo` removes it.

Its money comes and goes through the ledger, so the books are right with it and without it. It is
the one account whose ledger entries are ever deleted, because nobody ever paid for its credit.
"""

import dataclasses
import datetime as dt
import graphlib
import random
import secrets

from django.apps import apps
from django.db import connection, transaction
from django.db.models import PROTECT, Model
from django.utils import timezone

from accounts import keys
from accounts.keyring import data_keys
from accounts.models import ApiKey, User
from billing import append_only, ledger
from billing.accounts import open_account
from billing.key_caps import set_caps
from billing.models import CreditAccount, LedgerEntry
from billing.pricing import NANO_PER_USD
from gateway.analytics import rollups
from gateway.log import content
from gateway.models import Route
from kyma.demo import chat as demo_chat
from kyma.demo.usage import Habit, Past
from privacy import data_map

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
BATCH = 500


class DemoError(Exception):
    """`str(error)` says how to solve the problem."""


@dataclasses.dataclass(frozen=True, slots=True)
class Demo:
    password: str
    requests: int
    conversations: int


def make(*, days: int = DAYS, a_day: int = A_DAY, now: dt.datetime | None = None) -> Demo:
    """Make the account with `days` of usage up to an hour ago, replacing an older one.

    Raises DemoError.
    """
    now = (now or timezone.now()) - dt.timedelta(hours=1)
    routes = _routes()
    if User.objects.filter(email=EMAIL).exists():
        remove()
    password = secrets.token_urlsafe(12)
    start = now - dt.timedelta(days=days)
    user = User.objects.create_user(EMAIL, password, created_at=start)
    _verify_address(user)
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


def remove() -> None:
    """Delete everything of the demo's account, including its ledger entries. Raises DemoError."""
    user = User.objects.filter(email=EMAIL).first()
    if user is None:
        raise DemoError(f"There is no {EMAIL}.")
    person = user.id
    with transaction.atomic():
        rows = {
            model: list(found.values_list("pk", flat=True))
            for model, found in data_map.rows_of(person)
            if found.db == connection.alias
        }
        append_only.remove(connection)  # Undone with all the rest if anything fails.
        for model in _dependents_first(set(rows)):
            _delete(model, rows[model])
        connection.check_constraints()  # Postgres makes no trigger while checks are pending.
        append_only.install(connection)
    data_keys.destroy(person)
    content.leave_no_trace(connection)
    rollups.rebuild()


# --- Making --------------------------------------------------------------------------------------


def _routes() -> list[Route]:
    """Return one route to each of a few chat models. Raises DemoError without any."""
    rows = Route.objects.select_related("model", "provider", "price_version").order_by("-enabled")
    chatting = [row for row in rows if row.model.capabilities != ["embedding"]]
    by_model = {row.model_id: row for row in reversed(chatting)}
    if not by_model:
        raise DemoError("The catalogue is empty. Load it first: manage.py load_catalog")
    return sorted(by_model.values(), key=_dearness, reverse=True)[:MODELS]


def _dearness(route: Route) -> tuple[bool, bool, int]:
    """Return a sort key: usable routes first, then routes with a price of up to a few dollars."""
    price = route.price_version.output_nano
    return route.enabled and route.provider.enabled, price <= 3 * NANO_PER_USD, price


def _verify_address(user: User) -> None:
    if apps.is_installed("allauth.account"):
        addresses = apps.get_model("account", "EmailAddress")._default_manager
        addresses.create(user=user, email=user.email, verified=True, primary=True)


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


# --- Removing ------------------------------------------------------------------------------------


def _dependents_first(models: set[type[Model]]) -> list[type[Model]]:
    """Return `models` in an order in which no deleted row is still protected by another."""
    order: graphlib.TopologicalSorter = graphlib.TopologicalSorter({one: set() for one in models})
    for model in models:
        for field in model._meta.concrete_fields:
            is_protecting = field.remote_field and field.remote_field.on_delete is PROTECT
            if is_protecting and field.related_model in models:
                order.add(field.related_model, model)
    return list(order.static_order())


def _delete(model: type[Model], pks: list) -> None:
    for start in range(0, len(pks), BATCH):
        model._base_manager.filter(pk__in=pks[start : start + BATCH]).delete()
