"""The administrator of a new Kyma on one machine, who lets a person try it at once.

A file that only its owner can read keeps e-mail and password. The API key is kept nowhere. A
person who gives Kyma a provider's key has chosen that provider, so this account's requests may
go to any, and nobody is asked.
"""

import dataclasses
import json
import secrets
from pathlib import Path

from accounts import keys
from accounts.addresses import mark_verified
from accounts.models import ApiKey, ProviderChoice, User
from billing import signup
from billing.accounts import open_account
from privacy.provider_policy import NO_TEXT, choose

EMAIL = "admin@kyma.local"
KEY_NAME = "first key"


@dataclasses.dataclass(frozen=True)
class Login:
    email: str
    password: str


def ensure_admin(path: Path) -> Login:
    """Return the administrator's login, kept at `path`. Make a missing one, with the sign-up gift.

    This is safe to repeat, even if the amount of the gift has changed meanwhile.
    """
    login = _read_or_make(path)
    if not User.objects.filter(email=login.email).exists():
        User.objects.create_superuser(login.email, login.password)
    admin = _admin(login)
    if not admin.provider_choice:
        choose(admin, ProviderChoice.STORED, text_version=NO_TEXT)
    mark_verified(admin)
    open_account(admin)
    signup.grant(admin, login.email)
    return login


def password_was_changed(login: Login) -> bool:
    return not _admin(login).check_password(login.password)


def first_key(login: Login) -> str | None:
    """Make an API key for an administrator who never had one. It can be shown only now."""
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
