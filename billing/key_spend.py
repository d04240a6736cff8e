"""The spend of a key against its caps. Weeks start on Monday; all periods are UTC."""

import dataclasses
import datetime as dt

PERIODS = ("day", "week", "month")


def period_starts(today: dt.date) -> dict[str, dt.date]:
    return {
        "day": today,
        "week": today - dt.timedelta(days=today.weekday()),
        "month": today.replace(day=1),
    }


@dataclasses.dataclass(slots=True)
class KeySheet:
    """The spend of one key while its account is locked. Amounts in nano-dollars.

    `spent` and `caps` have the keys "total", "day", "week" and "month"; None means no cap. The
    amount in open holds counts against every cap.
    """

    held: int
    spent: dict[str, int]
    starts: dict[str, dt.date]
    caps: dict[str, int | None]

    @classmethod
    def fresh(cls, today: dt.date) -> "KeySheet":
        periods = ("total", *PERIODS)
        return cls(0, dict.fromkeys(periods, 0), period_starts(today), dict.fromkeys(periods))

    def roll(self, today: dt.date, latest: dt.date | None = None) -> None:
        """Restart the sum of each period that has ended.

        `latest` is today by a clock to trust. Later days came from a process whose clock was ahead.
        They count as `latest`, or their sums would stay until these days have passed.
        """
        if latest is not None:
            today = min(today, latest)
            for period, start in period_starts(latest).items():
                self.starts[period] = min(self.starts[period], start)
        for period, start in period_starts(today).items():
            if self.starts[period] < start:
                self.starts[period] = start
                self.spent[period] = 0

    @property
    def remaining(self) -> int | None:
        """The amount that the tightest cap leaves, or None without a cap."""
        left = [cap - self.spent[period] for period, cap in self.caps.items() if cap is not None]
        return min(left) - self.held if left else None

    @property
    def tightest(self) -> str | None:
        """The period whose cap leaves the least, or None without a cap."""
        capped = {period: cap for period, cap in self.caps.items() if cap is not None}
        return min(capped, key=lambda one: capped[one] - self.spent[one], default=None)

    def add(self, amount_nano: int) -> None:
        for period in self.spent:
            self.spent[period] += amount_nano

    def take_back(self, amount_nano: int, spent_on: dt.date) -> None:
        """Undo an `add` of that day, in the total and in each period that hasn't ended since."""
        self.spent["total"] -= amount_nano
        for period in PERIODS:
            if self.starts[period] <= spent_on:
                self.spent[period] -= amount_nano
