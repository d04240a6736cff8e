"""A second Kyma beside a first one from the same clone: each has a state folder of its own.

`manage.py up` works on `var/`. While a Kyma on another port does so, a new one on port N works on
`var/port-N`, and keeps this folder: from then on port N means it, whatever else runs. The default
port always means `var/`, so a plain `make run` never loses sight of what was there before.

There is no such folder when the environment names a state folder, a database or a Redis: two
Kymas can't share these.
"""

import os
from pathlib import Path

from django.conf import settings

DEFAULT_PORT = 8000
NOT_TO_BE_SHARED = ("KYMA_STATE_DIR", "DATABASE_URL", "KEYRING_DATABASE_URL", "REDIS_URL")


def folder_of(port: int) -> Path:
    """Return the state folder that a Kyma on `port` has if it can't have `var/`."""
    return settings.BASE_DIR / "var" / f"port-{port}"


def is_possible(port: int) -> bool:
    """True when a Kyma on `port` may get its own folder."""
    return port != DEFAULT_PORT and not any(map(os.environ.get, NOT_TO_BE_SHARED))


def began_before(port: int) -> bool:
    """True when a Kyma on `port` once started beside another, and so has its own folder."""
    return is_possible(port) and folder_of(port).is_dir()


def is_here(port: int) -> bool:
    """True when this process works on the own folder of `port`."""
    return folder_of(port) == settings.STATE_DIR


def remedy(port: int, other_port: int | None) -> str:
    """Return what a person can do when the state folder is taken by a Kyma on `other_port`."""
    if is_here(port) or not any(map(os.environ.get, NOT_TO_BE_SHARED)):
        free = max(port, other_port or 0) + 1
        return f"Stop it first, or start another beside it: make run PORT={free}"
    return "Stop it first, or choose another folder: KYMA_STATE_DIR=…"
