"""Refuses passwords that are guessed first, even when padding makes them long enough.

Django's list of common passwords has mostly short ones, which people pad until they pass: "dragon"
becomes "Dragon2026!" or "dragondragon". So Kyma looks up the core of a password: the part between
the digits and signs around it, with repetitions removed. No rule demands certain characters.
"""

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

OUR_NAMES = {"kyma", "kymaapi", "kymaapi.com"}
SHORTEST_CORE = 4  # A shorter core says nothing, with six characters or more around it.
TOO_COMMON = (
    "This password is too common: a well-known one, our name or your address, with more around it."
)


class CommonCoreValidator:
    def __init__(self) -> None:
        self._known_to_django = CommonPasswordValidator().passwords
        self._common = self._known_to_django | OUR_NAMES

    def validate(self, password: str, user=None) -> None:
        """Raise ValidationError if the core is common, or our name, or the user's address.

        Leaves out the passwords that Django's own validator refuses: both are configured, and
        only one of them should report a password.
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
    """Return the part of `text` from its first letter to its last."""
    letters = [place for place, character in enumerate(text) if character.isalpha()]
    return text[letters[0] : letters[-1] + 1] if letters else ""


def _once(text: str) -> str:
    """Return the part that `text` repeats, or `text` itself if it isn't a repetition."""
    return text[: (text + text).index(text, 1)] if text else ""


def _cores_of_address(user) -> set[str]:
    address = user.email.lower() if user else ""
    return {_core(address), _core(address.partition("@")[0])}
