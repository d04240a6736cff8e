"""The errors of accounts and keys.

AccountError
├── InvalidKey          no such key, revoked, disabled or expired
├── PasswordsBusy       too many passwords are being hashed at this moment
└── SealBroken          a ciphertext doesn't open: wrong key, wrong place, or tampered with
    └── KeyDestroyed    the data key is gone because the account was erased
"""


class AccountError(Exception):
    pass


class InvalidKey(AccountError):
    """`str(error)` explains the problem to the caller without repeating the key."""


class PasswordsBusy(AccountError):
    """Nothing has been changed, and it was no wrong try. `str(error)` is for people."""

    def __str__(self) -> str:
        return (
            "Kyma is checking many passwords just now. Nothing was changed: try again in a moment."
        )


class SealBroken(AccountError):
    pass


class KeyDestroyed(SealBroken):
    pass
