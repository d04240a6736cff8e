"""The pace at which a body must come: slow honest uploads pass, those that stall don't."""

from django.conf import settings

from gateway.errors import BodyTimeout


def due_at(begun_at: float, received_bytes: int) -> float:
    """Return when the next bytes of a body must be there, by the clock of `begun_at`."""
    allowed_s: float = received_bytes / settings.BODY_BYTES_PER_S
    return begun_at + settings.BODY_TIMEOUT_S + allowed_s


def too_slow() -> BodyTimeout:
    return BodyTimeout(
        f"The body of the request didn't arrive in time: after {settings.BODY_TIMEOUT_S:g} s send "
        f"at least {settings.BODY_BYTES_PER_S:,} bytes per second."
    )
