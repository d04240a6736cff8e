"""The real ledger against the pure one: rows, batches and sweeps against dicts.

Every example is a run of random operations on two accounts and three keys, in a transaction
that is rolled back. After each step the two must agree to the nano-dollar, and the books must
reconcile.
"""

import contextlib
import datetime as dt

import hypothesis
import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.db.models import Sum
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import ledger
from billing.accounts import give_signup_credit
from billing.errors import KeyReused
from billing.key_spend import period_starts
from billing.ledger import Ask, Grant
from billing.models import CreditAccount, Hold, KeySpend, LedgerEntry
from gateway.commits import reconcile, sweeper
from gateway.commits.now import commit_now
from gateway.commits.operations import Reserve, undo
from gateway.models import WebProcess
from tests.support.factories import (
    cap_key,
    make_account,
    make_key,
    make_price,
    make_process,
    make_release,
    make_reserve,
    make_settle,
    make_user,
)
from tests.support.pure_ledger import PERIODS, PureLedger, cost

BEGIN = dt.datetime(2026, 3, 24, 12, 0, tzinfo=dt.UTC)  # Its days are over by any clock.
LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # Then no hold is overdue yet.
AT_ONCE = (8, 16, 32, 64, 128)  # by tier
OF_REQUESTS = (LedgerEntry.Kind.USAGE, LedgerEntry.Kind.REVERSAL)
FREE = {"outcome": "upstream-failed", "status": 502}

which = st.integers(0, 30)  # counted back from the latest; from 24 on, of the closed ones too
prices = st.sampled_from([0, 1, 333_333, 1_000_000, 2_500_000])


def reserve():
    return st.tuples(
        st.just("reserve"),
        st.sampled_from(["a1", "a2", "b1", "a", "b"]),  # with a key of alice or bob, or without
        st.integers(0, 200),  # tokens of the prompt
        st.integers(1, 3),  # answers
        st.integers(0, 100),  # tokens of each answer
        st.booleans(),  # flexible
        st.sampled_from([None, 0, 1]),  # the web process, if there is one
    )


tokens = st.integers(0, 900)
operations = st.one_of(
    *(reserve() for _ in range(6)),  # Each is a branch of its own: more are opened than closed.
    st.tuples(st.just("settle"), which, tokens, tokens, tokens),
    st.tuples(st.just("settle near the hold"), which, st.integers(-3, 3)),
    st.tuples(st.just("settle for nothing"), which),
    st.tuples(st.just("release"), which),
    st.tuples(st.just("reverse"), which),
)
names = st.sampled_from(["a", "b"])
minutes = st.sampled_from([1, 12, 24 * 60, 4 * 24 * 60, 20 * 24 * 60])
caps = st.one_of(st.none(), st.integers(0, 1000))
turns = st.one_of(
    st.tuples(st.just("change_price"), prices, prices, st.integers(0, 20)),
    st.tuples(st.just("pass_time"), minutes),
    st.tuples(st.just("jump_back")),
    st.tuples(st.just("owe"), names, st.sampled_from([0, 0, 0, 1])),
    st.tuples(
        st.just("cap"),
        st.sampled_from(["a1", "b1"]),
        st.sampled_from(list(PERIODS)),
        caps,
    ),
)
payments = st.one_of(
    st.tuples(st.just("sign_up"), names),
    st.tuples(st.just("buy"), names, st.sampled_from([1, 100, 1000, 5000]), st.integers(1, 9)),
)


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.rollback = contextlib.ExitStack()
        for database in ("default", "keyring"):
            self.rollback.enter_context(transaction.atomic(using=database))
        people = {"a": make_user(), "b": make_user()}
        self.accounts = {name: make_account(user) for name, user in people.items()}
        self.keys = {name: make_key(people[name[0]])[0] for name in ("a1", "a2", "b1")}
        self.pure = PureLedger(self.accounts, self.keys)
        self.now = BEGIN
        self.asked: list[Reserve] = []  # all reservations, refused and closed ones too
        self.refused: set[str] = set()
        self.chosen: set[str] = set()  # closed by the batch that is being prepared
        self.prices: dict = {}  # by request
        self.is_changed = False  # whether the books are, since they were last reconciled
        self.last: list = []  # the last batch, with what the pure ledger makes of it
        self.processes = [make_process(), make_process()]  # those that live
        self.exact_price = make_price(input_nano=1_000_000)  # a nano-dollar for a token
        self.price = self.exact_price

    def teardown(self):
        if not connection.needs_rollback:  # Else a step failed, and says why.
            connection.check_constraints()
        for database in ("default", "keyring"):
            transaction.set_rollback(True, using=database)
        self.rollback.close()

    # --- The world around

    @initialize(
        tier=st.sampled_from([0, 0, 1, 4]),
        purchase=st.sampled_from([700, 9000, 90_000]),
        day=caps,
        week=caps,
    )
    def begin(self, tier, purchase, day, week):
        CreditAccount.objects.filter(pk=self.accounts["b"].pk).update(tier=tier)
        self.pure.at_once["b"] = AT_ONCE[tier]
        self.buy("a", purchase, 10)
        self.buy("b", 100_000 - purchase, 11)
        self.cap("a1", "day", day)
        self.cap("b1", "week", week)

    @rule(turn=turns)
    def the_world_turns(self, turn):
        kind, *details = turn
        getattr(self, kind)(*details)

    def change_price(self, output, input_price, request):
        self.price = make_price(input_nano=input_price, output_nano=output, request_nano=request)

    def pass_time(self, minutes):
        day = self.now.date()
        self.now += dt.timedelta(minutes=minutes)
        if day != self.now.date():
            self.last = []

    def jump_back(self):
        """By an hour, but not to another day: then caps would count by the later day."""
        midnight = self.now.replace(hour=0, minute=0)
        self.now = max(self.now - dt.timedelta(hours=1), midnight)

    def owe(self, name, owed):
        CreditAccount.objects.filter(pk=self.accounts[name].pk).update(owed_nano=owed)
        self.pure.owed[name] = owed

    def cap(self, name, period, cap):
        cap_key(self.keys[name], today=self.now.date(), **{f"{period}_cap_nano": cap})
        self.pure.caps[name].pop(period, None)
        if cap is not None:
            self.pure.caps[name][period] = cap

    # --- Credit

    @rule(payment=payments)
    def pay(self, payment):
        kind, *details = payment
        getattr(self, kind)(*details)

    def sign_up(self, name):
        give_signup_credit(self.accounts[name].user)
        assert self.pure.credit(f"signup:{name}", name, django_settings.SIGNUP_CREDIT_NANO)
        self.is_changed = True

    def buy(self, name, amount, payment):
        try:
            ledger.credit(
                self.accounts[name].id,
                kind=LedgerEntry.Kind.PURCHASE,
                amount_nano=amount,
                idempotency_key=f"purchase:{payment}",
            )
            is_credited = True
        except KeyReused:
            is_credited = False
        assert self.pure.credit(f"purchase:{payment}", name, amount) == is_credited
        self.is_changed = True

    # --- Batches

    @rule(wanted=st.lists(operations, min_size=1, max_size=10))
    def commit(self, wanted):
        self.chosen = set()
        self.last = [one for one in map(self.prepare, wanted) if one is not None]
        self.apply(self.last)

    @rule(wanted=st.lists(operations, min_size=4, max_size=10))
    def commit_many(self, wanted):
        self.commit(wanted)

    @precondition(lambda self: self.last)
    @rule()
    def commit_again(self):
        """As after a commit whose fate is unknown. A request doesn't open again once closed."""
        again = [
            (operation, pure)
            for operation, pure in self.last
            if not (isinstance(operation, Reserve) and operation.request_id in self.pure.closed)
        ]
        self.apply(again)

    @rule(minutes=st.one_of(st.just(0), minutes), dying=st.sampled_from([None, None, 0, 1]))
    def sweep(self, minutes, dying):
        self.pass_time(minutes)
        if dying is not None:
            self.let_die(dying)
        abandoned = self.pure.abandoned(self.now)
        assert sweeper.sweep(self.now) == len(abandoned)
        for request in abandoned:
            self.pure.close(request, 0, self.now.date(), then="swept")
        self.is_changed = True

    def let_die(self, place):
        """Another process takes its place."""
        process, self.processes[place] = self.processes[place], make_process()
        WebProcess.objects.filter(pk=process.pk).update(dead_at=BEGIN)
        self.pure.dead.add(process)

    def apply(self, prepared):
        operations = [operation for operation, _ in prepared]
        results = [plain(one) for one in commit_now(operations)]
        assert results == [pure() for _, pure in prepared]
        asked = [one.request_id for one in operations if isinstance(one, Reserve)]
        self.refused.update(set(asked).difference(self.pure.holds, self.pure.closed))
        self.is_changed = True

    def prepare(self, wanted):
        """A real operation, and the same for the pure ledger."""
        kind, *details = wanted
        if kind == "reserve":
            return self.prepare_reserve(*details)
        reserve = self.choose(details[0])
        if reserve is None:
            return None
        if kind == "release":
            return make_release(reserve), lambda: self.release(reserve)
        if kind == "reverse":
            return self.prepare_reverse(reserve)
        if kind == "settle for nothing":
            return self.prepare_settle(reserve, 0, **FREE)
        if kind == "settle near the hold":
            hold = self.pure.holds.get(reserve.request_id, {"amount": 0})
            tokens = max(hold["amount"] + details[1], 0)
            exact = self.exact_price.id.hex
            return self.prepare_settle(
                reserve, tokens, price_version_id=exact, prompt_tokens=tokens
            )
        return self.prepare_usage(reserve, *details[1:])

    def choose(self, which):
        """A reservation: one that nobody has closed yet, or any there ever was."""
        done = {*self.pure.closed, *self.refused, *self.chosen}
        waiting = [one for one in self.asked if one.request_id not in done]
        among = (waiting if which < 24 else self.asked) or self.asked
        if not among:
            return None
        self.chosen.add(among[-1 - which % len(among)].request_id)
        return among[-1 - which % len(among)]

    def prepare_reserve(self, who, prompt, answers, tokens, flexible, place):
        account, key, price = self.accounts[who[0]], self.keys.get(who), self.price
        fixed = cost((prompt, price.input_nano)) + price.request_nano
        ask = Ask(fixed, price.output_nano, answers, tokens, flexible)
        process = None if place is None else self.processes[place]
        reserve = make_reserve(account, price, ask, key=key, now=self.now, process=process)
        self.asked.append(reserve)
        self.prices[reserve.request_id] = price
        day, name = self.now.date(), who if key else None
        until = (reserve.deadline, process)
        details = (fixed, price.output_nano, answers, tokens, flexible, day, *until)
        return reserve, lambda: self.pure.reserve(reserve.request_id, who[0], name, *details)

    def prepare_usage(self, reserve, prompt, cached, completion):
        price, cached = self.prices[reserve.request_id], min(cached, prompt)
        charge = price.request_nano * bool(prompt or completion) + cost(
            (prompt - cached, price.input_nano),
            (cached, price.cached_input_nano),
            (completion, price.output_nano),
        )
        counts = {"prompt_tokens": prompt, "cached_tokens": cached, "completion_tokens": completion}
        return self.prepare_settle(reserve, charge, **counts)

    def prepare_settle(self, reserve, charge, **fields):
        settle, day = make_settle(reserve, charge, now=self.now, **fields), self.now.date()
        return settle, lambda: self.pure.close(reserve.request_id, charge, day)

    def prepare_reverse(self, reserve):
        """By whoever was told that its settlement failed, whether there was one or not."""
        request = reserve.request_id
        *_, settled_on, _ = self.pure.paid.get(request, (None, None, self.now.date(), 0))
        settled_at = dt.datetime.combine(settled_on, dt.time(), dt.UTC)
        operation = undo(make_settle(reserve, 0, now=settled_at), self.now)
        return operation, lambda: self.pure.reverse(request, self.now.date())

    def release(self, reserve):
        self.pure.close(reserve.request_id, 0, self.now.date(), then="released")

    # --- What must agree after each step

    @invariant()
    def accounts_agree(self):
        rows = CreditAccount.objects.in_bulk()
        entries = sums_by_account(LedgerEntry)
        holds = Hold.objects.values_list("id", "account", "amount_nano")
        for name, account in self.accounts.items():
            row = rows[account.id]
            balance, held = self.pure.balance(name), self.pure.held(account=name)
            assert (row.balance_nano, row.held_nano) == (balance, held)
            assert row.open_holds == self.pure.open_holds(name)
            assert entries.get(account.id, 0) == balance
            assert 0 <= held <= balance
            assert {id.hex: nano for id, owner, nano in holds if owner == account.id} == {
                one: hold["amount"]
                for one, hold in self.pure.holds.items()
                if hold["account"] == name
            }

    @invariant()
    def totals_agree(self):
        for account in self.accounts.values():
            amounts = account.entries.values_list("kind", "amount_nano")
            used = -sum(nano for kind, nano in amounts if kind in OF_REQUESTS)
            gained = sum(nano for kind, nano in amounts if kind not in OF_REQUESTS)
            assert ledger.gained_and_used(account.id) == (gained, used)

    @invariant()
    def keys_agree(self):
        rows = {row.key_id: row for row in KeySpend.objects.all()}
        today = self.now.date()
        for name, key in self.keys.items():
            row, spent = rows.get(key.id), dict.fromkeys(PERIODS, 0)
            if row is not None:
                assert row.held_nano == self.pure.held(key=name)
                starts = period_starts(today)
                spent = {
                    period: getattr(row, f"{period}_nano")
                    if period == "total" or getattr(row, period) >= starts[period]
                    else 0
                    for period in PERIODS
                }
            assert spent == {one: self.pure.spent(name, one, today) for one in PERIODS}

    @invariant()
    def books_reconcile(self):
        if self.is_changed:
            assert [str(one) for one in reconcile.differences(now=LONG_AGO)] == []
            self.is_changed = False


def sums_by_account(model) -> dict:
    sums = model.objects.order_by().values("account").annotate(sum=Sum("amount_nano"))
    return {row["account"]: row["sum"] for row in sums}


def plain(result):
    """A result as the pure ledger gives it: amounts, names of refusals, None."""
    if isinstance(result, Grant):
        return result.amount_nano
    return type(result).__name__ if isinstance(result, Exception) else result


def compare(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


@pytest.fixture(autouse=True)
def _small_gift(committed_books, settings):
    settings.SIGNUP_CREDIT_NANO = 3000


def test_the_ledger_agrees_with_the_pure_one():
    compare(examples=25, steps=20)


@pytest.mark.proof
def test_the_ledger_agrees_with_the_pure_one_at_length():
    compare(examples=100, steps=40)


@pytest.mark.endurance
def test_the_ledger_agrees_with_the_pure_one_at_great_length():
    compare(examples=320, steps=40)
