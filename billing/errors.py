"""What billing refuses.

BillingError
├── InsufficientCredit   the most that a request can cost is more than what is left
│   └── KeyCapReached    … of the spend cap of its key
├── TooManyOpenHolds     as many requests are running as the account may run at once
├── NoSuchAccount        there is no credit account of this id
└── KeyReused            an idempotency key came back with another amount, kind or account
"""


class BillingError(Exception):
    pass


class InsufficientCredit(BillingError):
    """Amounts in nano-dollars; `affordable_max_tokens` is per answer, 0 if not even one fits."""

    def __init__(self, required_nano: int, available_nano: int, affordable_max_tokens: int):
        super().__init__(f"needs {required_nano}, has {available_nano} nano-dollars")
        self.required_nano = required_nano
        self.available_nano = available_nano
        self.affordable_max_tokens = affordable_max_tokens


class KeyCapReached(InsufficientCredit):
    pass


class TooManyOpenHolds(BillingError):
    def __init__(self, limit: int):
        super().__init__(f"{limit} requests are open")
        self.limit = limit


class NoSuchAccount(BillingError):
    pass


class KeyReused(BillingError):
    pass
