"""The ledger in the plainest words, as the oracle of the real one: dicts, and sums over them."""

from fractions import Fraction
from math import ceil

PERIODS = {"total": "", "day": "%F", "week": "%G week %V", "month": "%Y-%m"}


def cost(*priced):
    """Each pair of tokens and price per million, rounded up by itself."""
    return sum(ceil(Fraction(tokens * price, 10**6)) for tokens, price in priced)


class PureLedger:
    def __init__(self, accounts, keys):
        self.entries, self.holds, self.closed, self.paid = {}, {}, {}, {}
        self.dead = set()
        self.owed, self.at_once = dict.fromkeys(accounts, 0), dict.fromkeys(accounts, 8)
        self.caps, self.charges = {key: {} for key in keys}, {key: [] for key in (*keys, None)}

    def balance(self, account):
        return sum(amount for owner, amount in self.entries.values() if owner == account)

    def held(self, **who):
        return sum(one["amount"] for one in self.holds.values() if one.items() >= who.items())

    def open_holds(self, account):
        return sum(one["account"] == account for one in self.holds.values())

    def abandoned(self, now):
        return [
            request
            for request, one in self.holds.items()
            if one["end"] < now or one["process"] in self.dead
        ]

    def spent(self, key, name, day):
        of = PERIODS[name]
        then = day.strftime(of)
        return sum(amount for one, amount in self.charges[key] if one.strftime(of) == then)

    def credit(self, reference, account, amount):
        return self.entries.setdefault(reference, (account, amount)) == (account, amount)

    def reserve(
        self, request, account, key, fixed, price, answers, tokens, flexible, day, end, process
    ):
        if request in self.holds:
            return self.holds[request]["amount"]
        if self.open_holds(account) >= self.at_once[account]:
            return "TooManyOpenHolds"
        free = 0 if self.owed[account] else self.balance(account) - self.held(account=account)
        limits = [("InsufficientCredit", free)]
        for name, cap in self.caps.get(key, {}).items():
            limits += [("KeyCapReached", cap - self.spent(key, name, day) - self.held(key=key))]
        for refusal, most in limits:
            most = max(most, 0)  # What is free is never refused for credit.
            while flexible and tokens > 1 and fixed + cost((answers * tokens, price)) > most:
                tokens -= 1
            if (amount := fixed + cost((answers * tokens, price))) > most:
                return refusal
        hold = {"account": account, "key": key, "amount": amount, "end": end, "process": process}
        self.holds[request] = hold
        return amount

    def close(self, request, charge, day, then="settled"):
        if (hold := self.holds.pop(request, None)) is None:
            return self.closed.get(request, "HoldClosed")
        charged = min(charge, hold["amount"])
        self.entries[f"settle:{request}"] = (hold["account"], -charged)
        self.charges[hold["key"]].append((day, charged))
        self.closed[request] = charged if then == "settled" else "HoldClosed"
        self.paid[request] = (hold["account"], hold["key"], day, charged)
        return charged

    def reverse(self, request, day):
        self.close(request, 0, day, then="lost")
        if self.closed.get(request, "HoldClosed") != "HoldClosed":
            account, key, day, charged = self.paid[request]
            self.entries[f"reverse:{request}"] = (account, charged)
            self.charges[key].remove((day, charged))
            self.closed[request] = "HoldClosed"
