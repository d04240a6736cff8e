"""Mails to the owner about new keys, because a key outlives the session that made it.

The owner learns of each key that somebody made who was signed in, and of each key with scopes,
which reads or changes the account. There is no mail for a key without scopes that another key made:
a program may make hundreds of them in a day, none may more than asking models, and the owner
learned of the key that makes them.
"""

from accounts import notices
from accounts.models import ApiKey, User

TEMPLATE = "gateway/email/new_key"
MADE = "A new API key was made in your account."
REPLACED = "An API key of your account was replaced by a new one with the same rules."
MAY_MORE = "An API key of your account may do more from now on."

_MANAGEMENT = "make, change and revoke your other keys at /v1/keys"
_NOTHING_MORE = "ask models at /v1, and no more"
_IN_PERSON = "somebody who was signed in to your account"


def report(user: User, key: ApiKey, event: str, *, by: ApiKey | None) -> None:
    """Record a notice about `key`, which `by` made, or the owner in person."""
    if by is not None and not key.scopes:
        return
    facts = {
        "event": event,
        "name": key.name,
        "label": _label(key),
        "rights": _rights(key),
        "maker": _IN_PERSON if by is None else f"the key “{by.name}”, {_label(by)}",
    }
    notices.record(user, template=TEMPLATE, address=user.email, facts=facts)


def _label(key: ApiKey) -> str:
    return f"{key.start}…{key.end}"


def _rights(key: ApiKey) -> str:
    if key.is_management:
        return _MANAGEMENT
    labels = [scope.label for scope in ApiKey.Scope if scope.value in key.scopes]
    return "; ".join(labels) or _NOTHING_MORE
