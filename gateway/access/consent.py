"""The rule of P7: which routes a person's choice of providers allows, and what more would add."""

import dataclasses
from collections import Counter
from collections.abc import Iterable

from accounts.models import ProviderChoice

WORDS = {
    ProviderChoice.NONE: "providers that keep nothing",
    ProviderChoice.ABUSE_30D: "providers that keep up to 30 days against abuse (abuse_30d)",
    ProviderChoice.STORED: "providers that store what they are sent, or don't say (stored)",
}
_ORDER = {choice: place for place, choice in enumerate(ProviderChoice.values)}


def allows(choice: str, needed: str) -> bool:
    """Return True if a person with this choice may use a route that needs `needed`."""
    return _ORDER[needed] <= _ORDER[choice or ProviderChoice.NONE.value]


def allowed(choice: str) -> list[str]:
    """Return the choices that a person with this choice has made with it."""
    return [needed for needed in _ORDER if allows(choice, needed)]


@dataclasses.dataclass(frozen=True, slots=True)
class Addition:
    """The providers that could be used with a wider choice. It adds at least one of them."""

    choice: ProviderChoice
    providers: int

    @property
    def words(self) -> str:
        return WORDS[self.choice]

    @property
    def count(self) -> str:
        return counted(self.providers)


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """The providers of a model under one choice, and what wider choices would add."""

    usable: int
    additions: tuple[Addition, ...]

    @classmethod
    def of(cls, choice: str, needs: Iterable[str]) -> "Standing":
        """Return the standing of routes that need these choices, each by another provider."""
        counts = Counter(needs)
        usable = found = sum(count for needed, count in counts.items() if allows(choice, needed))
        additions = []
        for wider in ProviderChoice:
            if not allows(choice, wider) and counts[wider]:
                found += counts[wider]
                additions.append(Addition(wider, found))
        return cls(usable, tuple(additions))

    @property
    def count(self) -> str:
        if not self.usable and self.additions:
            return "no provider without consent"
        return counted(self.usable)

    @property
    def hint(self) -> str:
        """Return sentences that say what wider choices would add; "" if they add nothing."""
        return " ".join(f"Allowing {one.words} gives {one.count}." for one in self.additions)


def counted(providers: int) -> str:
    """Return the number of providers in words: with a single one, no other can take over."""
    if providers == 1:
        return "one provider: no failover"
    return f"{providers} providers" if providers else "no provider"
