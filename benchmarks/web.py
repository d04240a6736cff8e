"""The gateway's web process with limits too high to be reached: they are counted, but never met.

    python -m benchmarks.web --port PORT

An unlimited account wouldn't do, because its requests aren't counted and skip Redis.
"""

import os
import sys

from billing import tiers
from billing.tiers import Tier

OUT_OF_REACH = Tier(
    purchases_usd=0,
    requests=10**7,
    model_requests=10**7,
    tokens=10**12,
    tokens_per_request=10**7,
    max_open_holds=10**6,
)


def raise_limits() -> None:
    """Raise the limits. Must run before any module imports the tiers by name."""
    tiers.TIERS = (OUT_OF_REACH,) * len(tiers.TIERS)


if __name__ == "__main__":
    raise_limits()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kyma.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "web", *sys.argv[1:]])
