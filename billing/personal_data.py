"""The personal data in billing; `accounts/personal_data.py` explains the form.

`CreditAccount.user` is the only link. Once it is null, entries and balances name nobody. They are
kept for as long as the law requires records of sales.
"""

PERSONAL_DATA = {
    "billing.CreditAccount": {
        "person": "user",
        "identity": [],
        "content": [],
        "metadata": [
            "balance_nano",
            "held_nano",
            "owed_nano",
            "purchased_nano",
            "open_holds",
            "tier",
            "unlimited",
            "no_gift",
            "created_at",
        ],
        "plain": ["id", "user"],
    },
    "billing.Hold": {
        "person": "account__user",
        "identity": [],
        "content": [],
        "metadata": ["amount_nano", "price_version", "created_at", "deadline"],
        "plain": ["id", "account", "key", "process_id"],
    },
    "billing.LedgerEntry": {
        "person": "account__user",
        "identity": [],
        "content": [],
        "metadata": ["kind", "amount_nano", "created_at"],
        "plain": ["id", "account", "request_id", "idempotency_key"],
    },
    "billing.KeySpend": {
        "person": "key__user",
        "identity": [],
        "content": [],
        "metadata": [
            "held_nano",
            "total_nano",
            "day",
            "day_nano",
            "week",
            "week_nano",
            "month",
            "month_nano",
            "total_cap_nano",
            "day_cap_nano",
            "week_cap_nano",
            "month_cap_nano",
        ],
        "plain": ["key"],
    },
}

NO_PERSONAL_DATA = {
    "billing.SignupGrant": "keyed hashes of mailboxes, tied to no account and to no date",
    "billing.GiftPlace": "keyed hashes of networks and mail domains that got gifts for signing up, "
    "tied to no account; purged after a day or, for networks, 90 days",
    "billing.PriceVersion": "prices of models, the same for everybody",
}
