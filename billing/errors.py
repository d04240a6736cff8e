"""The errors of billing.

BillingError
├── InsufficientCredit   the account has less left than the request may cost
│   └── KeyCapReached    the key's spend cap leaves less than the request may cost
├── TooManyOpenHolds     the account runs as many requests at once as it may
├── NoSuchAccount        no credit account has this id
└── KeyReused            an idempotency key came back with another amount, kind or account
"""


class BillingError(Exception):
    pass


class InsufficientCredit(BillingError):
    """Amounts in nano-dollars. `affordable_max_tokens` is per answer, 0 if not one token fits."""

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
