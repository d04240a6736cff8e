"""The pace at which a body must come: slow honest uploads pass, those that stall don't."""

from django.conf import settings

from gateway.errors import BodyTimeout


class Pace:
    """The moment by which the next bytes of a body must be there, by the loop's clock.

    A fast beginning earns no long silence: a body is never ahead by more than BODY_TIMEOUT_S.
    """

    def __init__(self, now: float):
        self.due_at = now + settings.BODY_TIMEOUT_S

    def came(self, count: int, now: float) -> float:
        """Note that `count` bytes came. Returns when the next must be there."""
        earned: float = self.due_at + count / settings.BODY_BYTES_PER_S
        self.due_at = min(earned, now + settings.BODY_TIMEOUT_S)
        return self.due_at


def too_slow() -> BodyTimeout:
    return BodyTimeout(
        f"The body of the request came too slowly: after {settings.BODY_TIMEOUT_S:g} s send at "
        f"least {settings.BODY_BYTES_PER_S:,} bytes per second."
    )
