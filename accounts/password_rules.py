"""Passwords that are guessed first, however they are made long enough.

Django's list of common passwords is mostly of short ones, to which people add what makes them pass:
"dragon" becomes "Dragon2026!" or "dragondragon". So what is looked up is the core of a password:
without digits and signs around it, and said once. There is no rule on which characters to use.
"""

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

OUR_NAMES = {"kyma", "kymaapi", "kymaapi.com"}
SHORTEST_CORE = 4  # What is shorter says nothing beside six characters or more around it.
TOO_COMMON = (
    "This password is too common: a well-known one, our name or your address, with more around it."
)


class CommonCoreValidator:
    def __init__(self) -> None:
        self._known_to_django = CommonPasswordValidator().passwords
        self._common = self._known_to_django | OUR_NAMES

    def validate(self, password: str, user=None) -> None:
        """Raises ValidationError, but not for what Django's validator of common passwords refuses.

        Both stand in the settings, and one of them says it.
        """
        if password.lower().strip() in self._known_to_django:
            return
        said = _once(password.lower())
        core = _core(said)
        cores = {one for one in (core, _once(core)) if len(one) >= SHORTEST_CORE}
        known = cores & self._common or cores & _cores_of_address(user)
        if known or len(said) < SHORTEST_CORE:
            raise ValidationError(TOO_COMMON, code="password_too_common")

    def get_help_text(self) -> str:
        return "It isn't a common password, our name or your address with digits or signs added."


def _core(text: str) -> str:
    """From the first letter to the last."""
    letters = [place for place, character in enumerate(text) if character.isalpha()]
    return text[letters[0] : letters[-1] + 1] if letters else ""


def _once(text: str) -> str:
    """What `text` repeats; `text` itself, if that is nothing shorter."""
    return text[: (text + text).index(text, 1)] if text else ""


def _cores_of_address(user) -> set[str]:
    address = user.email.lower() if user else ""
    return {_core(address), _core(address.partition("@")[0])}
