"""The hook by which a rule says that the caller of a request is known.

The server puts the hook into the ASGI scope. It bounds how many connections one address may have
whose callers aren't known (kyma/connections/strangers.py).
"""

from collections.abc import Mapping
from typing import Any

VOUCH = "kyma.vouch"


def vouch(scope: Mapping[str, Any] | None) -> None:
    """Say that the caller has shown a valid key or a signed-in session. Safe to repeat."""
    if scope is not None and (hook := scope.get(VOUCH)):
        hook()
