"""Writing a step into the books and reading what they say."""

from billing.ledger import Grant
from billing.models import CreditAccount
from gateway.commits import reconcile
from gateway.commits.now import commit_now
from gateway.commits.operations import Reserve
from tests.support.factories import make_ask, make_reserve


def hold(account: CreditAccount, price, amount_nano: int = 1000, **fields) -> Reserve:
    """Hold `amount_nano` for a request; the reservation that did it."""
    reserve = make_reserve(account, price, make_ask(amount_nano), **fields)
    assert commit_now([reserve]) == [Grant(amount_nano, 0)]
    return reserve


def sums(account: CreditAccount) -> tuple[int, int]:
    """Balance and what is held of it, in nano-dollars."""
    account.refresh_from_db()
    return account.balance_nano, account.held_nano


def differences_of(customers) -> list[reconcile.Difference]:
    """What is wrong in the books of these customers, whatever other tests left in theirs."""
    accounts = {customer.account.id for customer in customers}
    return [one for one in reconcile.differences() if one.account_id in accounts]


def differences(now) -> list[str]:
    return [str(one) for one in reconcile.differences(now=now)]
