"""The admin that a new Kyma on one machine gets, so that it can be tried at once.

E-mail and password are kept in a file that only its owner can read. The API key isn't. Whoever
tries Kyma with a provider's key has chosen that provider, so this account may be sent to any.
"""

import dataclasses
import json
import secrets
from pathlib import Path

from accounts import keys
from accounts.addresses import mark_verified
from accounts.models import ApiKey, User
from billing import signup
from billing.accounts import open_account

EMAIL = "admin@kyma.local"
KEY_NAME = "first key"


@dataclasses.dataclass(frozen=True)
class Login:
    email: str
    password: str


def ensure_admin(path: Path) -> Login:
    """The admin's login, kept at `path`; the admin is made if missing, with the sign-up gift.

    Safe to repeat, whatever that gift is by then.
    """
    login = _read_or_make(path)
    if not User.objects.filter(email=login.email).exists():
        User.objects.create_superuser(login.email, login.password, allows_unstated_retention=True)
    admin = _admin(login)
    mark_verified(admin)
    open_account(admin)
    signup.grant(admin, login.email)
    return login


def password_was_changed(login: Login) -> bool:
    return not _admin(login).check_password(login.password)


def first_key(login: Login) -> str | None:
    """An API key for the admin if they never had one: it can be shown only now."""
    admin = _admin(login)
    if ApiKey.objects.filter(user=admin).exists():
        return None
    return keys.issue(admin, name=KEY_NAME)[1]


def _admin(login: Login) -> User:
    return User.objects.get(email=login.email)


def _read_or_make(path: Path) -> Login:
    if not path.exists():
        login = Login(EMAIL, secrets.token_urlsafe(12))
        draft = path.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(dataclasses.asdict(login)))
        draft.replace(path)
    return Login(**json.loads(path.read_text()))
