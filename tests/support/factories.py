"""Makes what tests need, with books that are right: credit comes in through the ledger.

Amounts are nano-dollars; prices nano-dollars per million tokens.
"""

import base64
import dataclasses
import datetime as dt
import itertools
import uuid

from accounts import keys
from accounts.addresses import mark_verified
from accounts.ids import first_id_at, uuid7
from accounts.models import ApiKey, ProviderChoice, User
from billing import ledger
from billing.accounts import open_account
from billing.key_spend import period_starts
from billing.ledger import Ask
from billing.models import CreditAccount, KeySpend, LedgerEntry, PriceVersion
from gateway.access.authentication import Caller
from gateway.commits.operations import Content, Release, Reserve, Settle
from gateway.commits.record import RequestRecord
from gateway.models import ApiRequest, Model, Provider, Route, WebProcess

_numbers = itertools.count(1)


def make_user(email: str | None = None, **fields) -> User:
    """A person with a data key, who was asked about providers and allows only those that keep
    nothing. Without `password` nobody can sign in by one, which is fast.

    With one, the address is verified too, so that the sign-in page lets them in.
    """
    fields = {"provider_choice": ProviderChoice.NONE, **fields}
    user = User.objects.create_user(email or f"person-{next(_numbers)}@example.org", **fields)
    if "password" in fields:
        mark_verified(user)
    return user


def make_account(user: User | None = None, *, balance_nano: int = 0, **fields) -> CreditAccount:
    """The credit account of `user` (or of somebody new), with a purchase of `balance_nano`."""
    account = open_account(user or make_user())
    if fields:
        CreditAccount.objects.filter(pk=account.pk).update(**fields)
    if balance_nano:
        ledger.credit(
            account.id,
            kind=LedgerEntry.Kind.PURCHASE,
            amount_nano=balance_nano,
            idempotency_key=f"purchase:test-{uuid7().hex}",
        )
    account.refresh_from_db()
    return account


def make_key(user: User, *, name: str = "test", **fields) -> tuple[ApiKey, str]:
    """A key of `user`: the row and the key itself."""
    return keys.issue(user, name=name, **fields)


def cap_key(key: ApiKey, **caps: int | None) -> KeySpend:
    """Set spend caps of `key`, as `day_cap_nano=…`; `today` is when its periods start."""
    today = caps.pop("today", None) or dt.datetime.now(dt.UTC).date()
    defaults = {**period_starts(today), **caps}
    return KeySpend.objects.update_or_create(key=key, defaults=caps, create_defaults=defaults)[0]


def make_price(
    *,
    input_nano: int = 100_000_000,
    cached_input_nano: int | None = None,
    output_nano: int = 400_000_000,
    **fields,
) -> PriceVersion:
    """A price: by default $0.10 per million input tokens, half of it cached, $0.40 output."""
    cached = input_nano // 2 if cached_input_nano is None else cached_input_nano
    return PriceVersion.objects.create(
        input_nano=input_nano, cached_input_nano=cached, output_nano=output_nano, **fields
    )


def make_provider(slug: str | None = None, **fields) -> Provider:
    slug = slug or f"provider-{next(_numbers)}"
    fields = {"name": slug.title(), "base_url": "http://127.0.0.1:9/v1", **fields}
    return Provider.objects.create(slug=slug, **fields)


def make_model(slug: str | None = None, **fields) -> Model:
    slug = slug or f"model-{next(_numbers)}"
    fields = {"name": slug.title(), "maker": "Test", "context_length": 8192, **fields}
    return Model.objects.create(slug=slug, **fields)


def make_route(
    slug: str | None = None,
    base_url: str | None = None,
    *,
    price: PriceVersion | None = None,
    provider: Provider | None = None,
    **fields,
) -> Route:
    """A route to the model `slug` (made if there is none) through `provider` or a new one."""
    model = Model.objects.filter(slug=slug).first() or make_model(slug)
    provider = provider or make_provider(**({"base_url": base_url} if base_url else {}))
    fields = {"upstream_model": model.slug, "price_version": price or make_price(), **fields}
    return Route.objects.create(model=model, provider=provider, **fields)


def make_caller(**fields) -> Caller:
    """A caller that stands in no database."""
    defaults = {
        "key_id": "k",
        "account_id": "a",
        "user_id": "u",
        "cipher": None,
        "retention_days": 0,
        "state": User.State.ACTIVE,
        "provider_choice": "stored",
        "tier": 0,
        "unlimited": False,
        "requests_per_minute": None,
        "allowed_models": frozenset(),
        "allowed_networks": (),
        "is_management": False,
    }
    return Caller(**{**defaults, **fields})


def make_request(account: CreditAccount, at: dt.datetime | None = None, **fields) -> ApiRequest:
    """A row of the request log, with an id of its time; it moves no money."""
    at = at or dt.datetime.now(dt.UTC)
    request_id = uuid.UUID(int=first_id_at(at).int | uuid7().int & ((1 << 80) - 1))
    defaults = {"api": "chat", "outcome": "finished", "status": 200}
    fields = {**defaults, "hold_nano": fields.get("cost_nano", 0), **fields}
    return ApiRequest.objects.create(id=request_id, account=account, created_at=at, **fields)


# --- Operations of group commit ------------------------------------------------------------------


def make_ask(
    amount_nano: int = 0,
    *,
    output_price: int = 0,
    answers: int = 1,
    max_tokens: int = 0,
    flexible: bool = False,
) -> Ask:
    """An ask for `amount_nano` plus `answers` × `max_tokens` at `output_price`."""
    return Ask(amount_nano, output_price, answers, max_tokens, flexible)


def make_reserve(
    account: CreditAccount,
    price: PriceVersion,
    ask: Ask,
    *,
    key: ApiKey | None = None,
    now: dt.datetime | None = None,
    request_id: str | None = None,
    lifetime_s: int = 660,
    process: WebProcess | None = None,
) -> Reserve:
    now = now or dt.datetime.now(dt.UTC)
    return Reserve(
        request_id=request_id or uuid7().hex,
        account_id=account.id.hex,
        key_id=key.id.hex if key else None,
        price_version_id=price.id.hex,
        ask=ask,
        now=now,
        deadline=now + dt.timedelta(seconds=lifetime_s),
        process_id=process.id.hex if process else None,
    )


def make_process(**fields) -> WebProcess:
    """A web process that has beaten once."""
    return WebProcess.objects.create(id=uuid7(), **fields)


def make_record(reserve: Reserve, **fields) -> RequestRecord:
    """The record of the finished request that `reserve` opened."""
    record = RequestRecord(
        id=reserve.request_id,
        account_id=reserve.account_id,
        key_id=reserve.key_id,
        created_at=reserve.now,
        api="chat",
        outcome=ApiRequest.Outcome.FINISHED.value,
        status=200,
        price_version_id=reserve.price_version_id,
    )
    return dataclasses.replace(record, **fields)


def make_settle(reserve: Reserve, cost_nano: int, *, now=None, content=None, **fields) -> Settle:
    return Settle(make_record(reserve, **fields), cost_nano, now or reserve.now, content)


def make_release(reserve: Reserve) -> Release:
    return Release(reserve.request_id, reserve.account_id, reserve.key_id, reserve.now)


def make_content(sealed: bytes = b"sealed", purge_at: dt.datetime | None = None) -> Content:
    purge_at = purge_at or dt.datetime.now(dt.UTC) + dt.timedelta(days=90)
    return Content(base64.b64encode(sealed).decode(), purge_at)
